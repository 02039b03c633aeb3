<?php
// Reads the secret, runs the program with its tests, prints the secret if their last line is reached (languages/php.py).
ini_set('display_errors', 'stderr');
ini_set('zend.exception_ignore_args', '1');
error_reporting(E_ALL & ~E_DEPRECATED);
function CODEUP_NAME(): void
{
    static $keeper = null;
    if ($keeper === null) {
        $keeper = (static function () {
            $secret = trim(stream_get_contents(STDIN));
            yield;
            // Resumed by this function, called by the last line of the program's file and by nothing else.
            $frames = debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS);
            $caller = $frames[2] ?? [];
            if (($caller['function'] ?? '') === 'CODEUP_NAME' && ($caller['file'] ?? '') === '/scratch/main.php'
                && ($caller['line'] ?? 0) === (int) '@LINE@' && count($frames) === 4) {
                file_put_contents('php://stdout', "\n$secret 1\n");
            }
        })();
        $keeper->current();
        return;
    }
    $keeper->next();
}
CODEUP_NAME();
set_exception_handler(static function (Throwable $error): void {
    file_put_contents('php://stderr', get_class($error) . ': ' . $error->getMessage() . ' on line ' . $error->getLine() . "\n");
    exit($error instanceof ParseError ? 98 : 97);
});
require '/scratch/main.php';
