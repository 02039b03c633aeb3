<?php
// Which functions pass which tests: a first look as in screen.js, with the same files. Each function is looked at in a
// child of this process, which tells how far it came; where it dies or hangs, another one goes on behind that test.
error_reporting(0);
const TEST_S = 1, SILENT_S = 5, MOST_LATE = 4, MOST_CALLS = 40, LARGE = 4000;
$functions = json_decode(file_get_contents('functions.json'), true);
$tests = json_decode(file_get_contents('tests.json'), true);

// The lines that a child writes before it ends, however it does.
function codeup_lines(callable $work): array {
    [$from, $to] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    if (pcntl_fork() === 0) {
        fclose($from);
        ob_start(fn() => '');
        $work($to);
        exit(0);
    }
    fclose($to);
    for ($lines = []; ($line = fgets($from)) !== false; $lines[] = trim($line));
    fclose($from);
    pcntl_wait($status);
    return $lines;
}

// The numbers of those that can be read: PHP ends itself over some.
function codeup_readable(array $tests): array {
    $left = array_keys($tests);
    for ($good = []; $left; $left = array_slice($left, count($lines))) {
        $lines = codeup_lines(function ($to) use ($left, $tests) {
            foreach ($left as $number) {
                fwrite($to, codeup_defined($number, $tests[$number]) ? "$number" : 'no');
                fwrite($to, "\n");
            }
        });
        $good = [...$good, ...array_map('intval', array_filter($lines, 'is_numeric'))];
        $lines[] = 'no';
    }
    return $good;
}

function codeup_defined(int $number, array $test): bool {
    $text = preg_replace('/^\s*<\?php/', '', $test['text']);
    $called = "function {$test['entry']}(...\$a) { return \\codeup_call(\$a); }";
    try {
        eval("namespace CodeupTest$number; $called function codeup_run() { $text\n }");
        return true;
    } catch (\Throwable) {
        return false;
    }
}

function codeup_call(array $arguments) {
    global $codeup_tried, $codeup_calls;
    if ($codeup_calls !== null && count($codeup_calls) < MOST_CALLS) {
        $text = json_encode($arguments, JSON_PRESERVE_ZERO_FRACTION);
        if (is_string($text) && strlen($text) <= LARGE && $arguments == json_decode($text, true)) {
            $codeup_calls[] = $arguments;
        }
    }
    return $codeup_tried(...$arguments);
}

function codeup_value(array $arguments): ?string {
    try {
        $text = json_encode(codeup_call($arguments), JSON_PRESERVE_ZERO_FRACTION);
    } catch (\Throwable) {
        return null;
    }
    return is_string($text) && strlen($text) <= LARGE ? $text : null;
}

function codeup_clock(): void {
    set_time_limit(TEST_S); // of the processor; one that sleeps is ended by a signal
    pcntl_alarm(SILENT_S);
}

// In a child: N before test N, "N null" when it passed, "N {calls, values}" when values were tried; end.
function codeup_look(array $one, array $numbers, array $tests, $to): void {
    global $codeup_tried, $codeup_calls;
    codeup_clock();
    try {
        eval($one['code']);
        $codeup_tried = eval("return {$one['expression']};");
    } catch (\Throwable) {
        return;
    }
    foreach ($numbers as $number) {
        fwrite($to, "$number\n");
        codeup_clock();
        $codeup_calls = ($tests[$number]['record'] ?? false) ? [] : null;
        try {
            ("CodeupTest$number\\codeup_run")();
        } catch (\Throwable) {
            continue;
        }
        fwrite($to, "$number null\n");
        $said = ['calls' => $codeup_calls ?? []];
        $codeup_calls = null;
        $said['values'] = array_map('codeup_value', $tests[$number]['inputs']);
        fwrite($to, "$number " . json_encode($said, JSON_PRESERVE_ZERO_FRACTION) . "\n");
    }
    fwrite($to, "end\n");
}

$readable = array_flip(codeup_readable($tests));
foreach ($readable as $number => $_) {
    codeup_defined($number, $tests[$number]);
}
$out = fopen('said.jsonl', 'a');
fwrite($out, json_encode(['unread' => array_values(array_diff(array_keys($tests), array_keys($readable)))]) . "\n");
foreach ($functions as $number => $one) {
    $left = array_values(array_filter($one['tests'], fn($test) => isset($readable[$test])));
    for ($late = 0; $left && $late < MOST_LATE; $late += 1) {
        [$at, $said] = ['end', null];
        foreach (codeup_lines(fn($to) => codeup_look($one, $left, $tests, $to)) as $line) {
            [$at, $said] = explode(' ', $line, 2) + [1 => null];
            if ($said !== null && $said !== 'null') {
                fwrite($out, '{"function":' . $number . ',"test":' . (int) $at . ',' . substr($said, 1) . "\n");
            }
        }
        if ($said === 'null') { // it passed, and its values took too long
            $said = ['calls' => [], 'values' => array_fill(0, count($tests[(int) $at]['inputs']), null)];
            fwrite($out, json_encode(['function' => $number, 'test' => (int) $at] + $said) . "\n");
        }
        $place = $at === 'end' ? false : array_search((int) $at, $left);
        $left = $place === false ? [] : array_slice($left, $place + 1);
    }
}
