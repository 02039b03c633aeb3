// Before every C++ program (languages/cpp.py): the secret is read first, checks are counted, the secret is printed last.
#include <unistd.h>
namespace CODEUP_NAME {
static char secret[80]; static long checks;
// The kernel is asked itself: a program may define a `read` of its own.
static inline long taken(char* to, long room) {
#if defined(__x86_64__)
  long got; __asm__ volatile("syscall" : "=a"(got) : "a"(0L), "D"(0L), "S"(to), "d"(room) : "rcx", "r11", "memory");
  return got;
#elif defined(__aarch64__)
  register long x0 __asm__("x0") = 0; register char* x1 __asm__("x1") = to;
  register long x2 __asm__("x2") = room; register long x8 __asm__("x8") = 63;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x8) : "memory");
  return x0;
#else
  return ::read(0, to, room);
#endif
}
__attribute__((constructor(101))) static void take() {
  long n = 0, got; while (n < 79 && (got = taken(secret + n, 79 - n)) > 0) n += got;
  while (n > 0 && secret[n - 1] == '\n') --n;
  secret[n] = 0;
}
static inline void check(bool good, const char* text, int line) {
  if (good) { ++checks; return; }
  secret[0] = 0;  // whatever a program makes of the next lines, it can prove nothing any more
  ::fprintf(stderr, "line %d of the tests: assertion failed: %s\n", line, text); ::fflush(stderr); ::_exit(97);
}
static inline void wrong(const char* text) { secret[0] = 0; ::fprintf(stderr, "error: %s\n", text); ::fflush(stderr); ::_exit(97); }
static inline void done() {
  ::fflush(stdout); char line[120]; int n = ::snprintf(line, 120, "\n%s %ld\n", secret, checks);
  if (::write(1, line, n) != n) ::_exit(96);
}
}
#define CODEUP_NAME_check(...) CODEUP_NAME::check(bool((__VA_ARGS__)), #__VA_ARGS__, __LINE__)
