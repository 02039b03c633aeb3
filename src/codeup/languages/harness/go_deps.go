// What package testing asks of `go test`: names are matched, profiles and fuzzing are not for us (languages/_go_packages.py).
package codeupdeps

import (
	"io"
	"reflect"
	"regexp"
	"time"
)

type entry = struct {
	Parent     string
	Path       string
	Data       []byte
	Values     []any
	Generation int
	IsSeed     bool
}

type TestDeps struct{}

func (TestDeps) ImportPath() string                             { return "" }
func (TestDeps) ModulePath() string                             { return "" }
func (TestDeps) MatchString(pattern, text string) (bool, error) { return regexp.MatchString(pattern, text) }
func (TestDeps) SetPanicOnExit0(bool)                           {}
func (TestDeps) StartCPUProfile(io.Writer) error                { return nil }
func (TestDeps) StopCPUProfile()                                {}
func (TestDeps) StartTestLog(io.Writer)                         {}
func (TestDeps) StopTestLog() error                             { return nil }
func (TestDeps) WriteProfileTo(string, io.Writer, int) error    { return nil }
func (TestDeps) RunFuzzWorker(func(entry) error) error          { return nil }
func (TestDeps) CheckCorpus([]any, []reflect.Type) error        { return nil }
func (TestDeps) ResetCoverage()                                 {}
func (TestDeps) SnapshotCoverage()                              {}
func (TestDeps) ReadCorpus(string, []reflect.Type) ([]entry, error) {
	return nil, nil
}
func (TestDeps) CoordinateFuzzing(time.Duration, int64, time.Duration, int64, int, []entry, []reflect.Type, string, string) error {
	return nil
}
func (TestDeps) InitRuntimeCoverage() (mode string, tearDown func(string, string) (string, error), snapcov func() float64) {
	return
}
