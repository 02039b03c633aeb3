import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/** Compiles one program in memory, runs its main class, and proves that it came back (languages/java.py). */
public final class CodeupHarness {
  private CodeupHarness() {}

  /** Arguments: the source file, the class whose main is called. The secret comes on standard input. */
  public static void main(String[] arguments) throws Exception {
    String secret = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).trim();
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
    PrintStream err = new PrintStream(new FileOutputStream(FileDescriptor.err), true, "UTF-8");
    Path file = Path.of(arguments[0]);
    String source = Files.readString(file);
    Files.delete(file);
    Map<String, byte[]> classes = compile(source, err);
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

  private static Map<String, byte[]> compile(String source, PrintStream err) {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
    Map<String, ByteArrayOutputStream> written = new HashMap<>();
    JavaFileManager memory =
        new ForwardingJavaFileManager<JavaFileManager>(compiler.getStandardFileManager(said, null, null)) {
          @Override
          public JavaFileObject getJavaFileForOutput(Location l, String name, JavaFileObject.Kind kind, FileObject f) {
            return new SimpleJavaFileObject(URI.create("memory:///" + name.replace('.', '/') + ".class"), kind) {
              @Override
              public OutputStream openOutputStream() {
                ByteArrayOutputStream bytes = new ByteArrayOutputStream();
                written.put(name, bytes);
                return bytes;
              }
            };
          }
        };
    JavaFileObject program =
        new SimpleJavaFileObject(URI.create("memory:///Main.java"), JavaFileObject.Kind.SOURCE) {
          @Override
          public CharSequence getCharContent(boolean ignore) {
            return source;
          }

          @Override
          public boolean isNameCompatible(String name, JavaFileObject.Kind kind) {
            return true; // one file holds the answer's class and the tests', and both may be public
          }
        };
    List<String> options = List.of("-proc:none", "-nowarn", "-Xlint:none", "-g:none", "-XDuseUnsharedTable=true");
    boolean good = compiler.getTask(err == null ? null : new java.io.PrintWriter(err), memory, said, options, null,
        List.of(program)).call();
    if (!good) {
      for (Diagnostic<?> each : said.getDiagnostics())
        if (each.getKind() == Diagnostic.Kind.ERROR)
          err.println("line " + each.getLineNumber() + ": error: " + each.getMessage(null));
      err.flush();
      Runtime.getRuntime().halt(98);
    }
    Map<String, byte[]> classes = new HashMap<>();
    written.forEach((name, bytes) -> classes.put(name, bytes.toByteArray()));
    return classes;
  }
}
