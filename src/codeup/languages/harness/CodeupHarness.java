import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

/** Runs the main class of one program, compiled here or before, and proves that it came back (languages/java.py, kotlin.py). */
public final class CodeupHarness {
  private CodeupHarness() {}

  /**
   * Arguments: a file of source (.txt), a file of classes or a folder of them (with / at its end); the class and the method
   * that are called; libraries. The secret comes on standard input.
   */
  public static void main(String[] arguments) throws Exception {
    String secret = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).trim();
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
    PrintStream err = new PrintStream(new FileOutputStream(FileDescriptor.err), true, "UTF-8");
    Map<String, byte[]> classes = given(arguments[0], err);
    if (classes == null) Runtime.getRuntime().halt(98);
    ClassLoader loader = new ClassLoader(libraries(arguments)) {
      @Override
      protected Class<?> findClass(String name) throws ClassNotFoundException {
        byte[] code = classes.get(name);
        if (code == null) throw new ClassNotFoundException(name);
        return defineClass(name, code, 0, code.length);
      }
    };
    loader.setDefaultAssertionStatus(true);
    Thread.currentThread().setContextClassLoader(loader);
    try {
      Method main = method(loader.loadClass(arguments[1]), arguments[2]);
      main.setAccessible(true);
      main.invoke(null, main.getParameterCount() == 0 ? new Object[0] : new Object[] {new String[0]});
    } catch (InvocationTargetException error) {
      error.getCause().printStackTrace(err);
      Runtime.getRuntime().halt(97);
    } catch (ReflectiveOperationException | LinkageError error) {
      err.println("error: " + error);
      Runtime.getRuntime().halt(97);
    }
    System.out.flush();
    out.print("\n" + secret + " 1\n");
    out.flush();
  }

  private static Map<String, byte[]> given(String name, PrintStream err) throws IOException {
    Path path = Path.of(name);
    if (name.endsWith("/")) return CodeupCompiler.within(path);
    byte[] bytes = Files.readAllBytes(path);
    Files.delete(path);
    if (!name.endsWith(".txt")) return CodeupCompiler.unpacked(bytes);
    return CodeupCompiler.compile(new String(bytes, StandardCharsets.UTF_8), err);
  }

  /** What the program's classes see besides the platform: not this class and not the compiler. */
  private static ClassLoader libraries(String[] arguments) throws IOException {
    ClassLoader platform = ClassLoader.getPlatformClassLoader();
    if (arguments.length == 3) return platform;
    URL[] places = new URL[arguments.length - 3];
    for (int i = 0; i < places.length; i += 1) places[i] = Path.of(arguments[i + 3]).toUri().toURL();
    return new URLClassLoader(places, platform);
  }

  /** The method with an array of texts, or without parameters, of that name. */
  private static Method method(Class<?> type, String name) throws NoSuchMethodException {
    for (Method each : type.getDeclaredMethods())
      if (each.getName().equals(name) && Arrays.equals(each.getParameterTypes(), new Class<?>[] {String[].class}))
        return each;
    return type.getDeclaredMethod(name);
  }
}
