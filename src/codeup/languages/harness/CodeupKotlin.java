// Runs a compiled program's tests and prints the secret after them (languages/kotlin.py).
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;

public final class CodeupKotlin {
  public static void main(String[] arguments) throws Exception {
    String secret = new String(System.in.readAllBytes()).trim();
    PrintStream out = System.out, err = System.err;
    URL[] places = {Path.of(arguments[0]).toUri().toURL(), Path.of(arguments[1]).toUri().toURL()};
    ClassLoader loader = new URLClassLoader(places, ClassLoader.getPlatformClassLoader());
    try {
      Method main = null;
      for (Method each : loader.loadClass("MainKt").getDeclaredMethods())
        if (each.getName().equals(arguments[2]) && each.getParameterCount() <= 1) main = each;
      if (main == null) throw new NoSuchMethodException("the tests have no main");
      Object[] given = main.getParameterCount() == 0 ? new Object[0] : new Object[] {new String[0]};
      main.invoke(null, given);
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
    Runtime.getRuntime().halt(0);
  }
}
