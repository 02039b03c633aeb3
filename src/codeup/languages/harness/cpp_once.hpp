// Templates that libstdc++'s own headers use and no program can name, compiled once (languages/cpp.py): @ONCE@ is
// "extern template" in what every program includes, and "template" in the object that it is linked with.
namespace __gnu_cxx {
@ONCE@ int __stoa<long, int, char, int>(long (*)(const char*, char**, int), const char*, const char*, std::size_t*, int);
@ONCE@ long __stoa<long, long, char, int>(long (*)(const char*, char**, int), const char*, const char*, std::size_t*, int);
@ONCE@ unsigned long __stoa<unsigned long, unsigned long, char, int>(unsigned long (*)(const char*, char**, int), const char*, const char*, std::size_t*, int);
@ONCE@ long long __stoa<long long, long long, char, int>(long long (*)(const char*, char**, int), const char*, const char*, std::size_t*, int);
@ONCE@ unsigned long long __stoa<unsigned long long, unsigned long long, char, int>(unsigned long long (*)(const char*, char**, int), const char*, const char*, std::size_t*, int);
@ONCE@ float __stoa<float, float, char>(float (*)(const char*, char**), const char*, const char*, std::size_t*);
@ONCE@ double __stoa<double, double, char>(double (*)(const char*, char**), const char*, const char*, std::size_t*);
@ONCE@ long double __stoa<long double, long double, char>(long double (*)(const char*, char**), const char*, const char*, std::size_t*);
@ONCE@ int __stoa<long, int, wchar_t, int>(long (*)(const wchar_t*, wchar_t**, int), const char*, const wchar_t*, std::size_t*, int);
@ONCE@ long __stoa<long, long, wchar_t, int>(long (*)(const wchar_t*, wchar_t**, int), const char*, const wchar_t*, std::size_t*, int);
@ONCE@ unsigned long __stoa<unsigned long, unsigned long, wchar_t, int>(unsigned long (*)(const wchar_t*, wchar_t**, int), const char*, const wchar_t*, std::size_t*, int);
@ONCE@ long long __stoa<long long, long long, wchar_t, int>(long long (*)(const wchar_t*, wchar_t**, int), const char*, const wchar_t*, std::size_t*, int);
@ONCE@ unsigned long long __stoa<unsigned long long, unsigned long long, wchar_t, int>(unsigned long long (*)(const wchar_t*, wchar_t**, int), const char*, const wchar_t*, std::size_t*, int);
@ONCE@ float __stoa<float, float, wchar_t>(float (*)(const wchar_t*, wchar_t**), const char*, const wchar_t*, std::size_t*);
@ONCE@ double __stoa<double, double, wchar_t>(double (*)(const wchar_t*, wchar_t**), const char*, const wchar_t*, std::size_t*);
@ONCE@ long double __stoa<long double, long double, wchar_t>(long double (*)(const wchar_t*, wchar_t**), const char*, const wchar_t*, std::size_t*);
@ONCE@ std::string __to_xstring<std::string, char>(int (*)(char*, std::size_t, const char*, __builtin_va_list), std::size_t,
  const char*, ...);
@ONCE@ std::wstring __to_xstring<std::wstring, wchar_t>(int (*)(wchar_t*, std::size_t, const wchar_t*, __builtin_va_list), std::size_t,
  const wchar_t*, ...);
}
