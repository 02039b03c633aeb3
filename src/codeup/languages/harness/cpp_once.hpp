// Templates that libstdc++'s own headers use and no program can name, compiled once (languages/cpp.py): @ONCE@ is
// "extern template" in what every program includes, and "template" in the object that it is linked with.
namespace __gnu_cxx {
#define CODEUP_WHOLE(To, From, Char) \
  @ONCE@ To __stoa<From, To, Char, int>(From (*)(const Char*, Char**, int), const char*, const Char*, std::size_t*, int);
#define CODEUP_BROKEN(To, Char) \
  @ONCE@ To __stoa<To, To, Char>(To (*)(const Char*, Char**), const char*, const Char*, std::size_t*);
#define CODEUP_NUMBERS(Char) \
  CODEUP_WHOLE(int, long, Char) \
  CODEUP_WHOLE(long, long, Char) \
  CODEUP_WHOLE(unsigned long, unsigned long, Char) \
  CODEUP_WHOLE(long long, long long, Char) \
  CODEUP_WHOLE(unsigned long long, unsigned long long, Char) \
  CODEUP_BROKEN(float, Char) \
  CODEUP_BROKEN(double, Char) \
  CODEUP_BROKEN(long double, Char)
CODEUP_NUMBERS(char)
CODEUP_NUMBERS(wchar_t)
#define CODEUP_TEXT(String, Char) \
  @ONCE@ String __to_xstring<String, Char>( \
      int (*)(Char*, std::size_t, const Char*, __builtin_va_list), std::size_t, const Char*, ...);
CODEUP_TEXT(std::string, char)
CODEUP_TEXT(std::wstring, wchar_t)
#undef CODEUP_WHOLE
#undef CODEUP_BROKEN
#undef CODEUP_NUMBERS
#undef CODEUP_TEXT
}
