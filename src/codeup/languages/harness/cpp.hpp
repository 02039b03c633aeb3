// Before every C++ program (languages/cpp.py): the secret is read first, checks are counted, the secret is printed last.
#include <unistd.h>
namespace CODEUP_NAME {
static char secret[80]; static long checks;
__attribute__((constructor(101))) static void take() {
  long n = 0, got; while (n < 79 && (got = ::read(0, secret + n, 79 - n)) > 0) n += got;
  while (n > 0 && secret[n - 1] == '\n') --n;
  secret[n] = 0;
}
static inline void check(bool good, const char* text, int line) {
  if (good) { ++checks; return; }
  ::fprintf(stderr, "line %d of the tests: assertion failed: %s\n", line, text); ::fflush(stderr); ::_exit(97);
}
static inline void wrong(const char* text) { ::fprintf(stderr, "error: %s\n", text); ::fflush(stderr); ::_exit(97); }
static inline void done() {
  ::fflush(stdout); char line[120]; int n = ::snprintf(line, 120, "\n%s %ld\n", secret, checks);
  if (::write(1, line, n) != n) ::_exit(96);
}
}
#define CODEUP_NAME_check(...) CODEUP_NAME::check(bool((__VA_ARGS__)), #__VA_ARGS__, __LINE__)
