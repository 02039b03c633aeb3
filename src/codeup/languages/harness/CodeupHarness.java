import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** Runs the main class of one program, compiled here or before, and proves that it came back (languages/java.py). */
public final class CodeupHarness {
  private CodeupHarness() {}

  /** Arguments: a file of source (.txt) or of classes, the class whose main is called. The secret is on standard input. */
  public static void main(String[] arguments) throws Exception {
    String secret = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).trim();
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
    PrintStream err = new PrintStream(new FileOutputStream(FileDescriptor.err), true, "UTF-8");
    Path file = Path.of(arguments[0]);
    byte[] given = Files.readAllBytes(file);
    Files.delete(file);
    boolean source = arguments[0].endsWith(".txt");
    Map<String, byte[]> classes =
        source
            ? CodeupCompiler.compile(new String(given, StandardCharsets.UTF_8), err)
            : CodeupCompiler.unpacked(given);
    if (classes == null) Runtime.getRuntime().halt(98);
    ClassLoader loader = new ClassLoader(ClassLoader.getPlatformClassLoader()) {
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
      Method main = loader.loadClass(arguments[1]).getDeclaredMethod("main", String[].class);
      main.setAccessible(true);
      main.invoke(null, (Object) new String[0]);
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
}
