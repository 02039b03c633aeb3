import java.io.BufferedOutputStream;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/** Compiles programs in memory: one for CodeupHarness, or as a process that stays, one after another (languages/java.py, kotlin.py). */
public final class CodeupCompiler {
  private static final List<String> OPTIONS =
      List.of("-proc:none", "-nowarn", "-Xlint:none", "-g:none", "-XDuseUnsharedTable=true");

  private CodeupCompiler() {}

  /** One language's compiler: source to classes, or null where the program is refused. */
  interface Compiler {
    Map<String, byte[]> compile(String source) throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
    serve(source -> compile(source, nowhere));
  }

  /** Reads sources and writes classes, each behind four bytes of length; a refused program is answered with nothing. */
  static void serve(Compiler compiler) throws IOException {
    DataInputStream in = new DataInputStream(System.in);
    DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
    System.setOut(new PrintStream(OutputStream.nullOutputStream()));
    while (true) {
      int size;
      try {
        size = in.readInt();
      } catch (EOFException end) {
        return;
      }
      String source = new String(in.readNBytes(size), StandardCharsets.UTF_8);
      byte[] answer;
      try {
        Map<String, byte[]> classes = compiler.compile(source);
        answer = classes == null ? new byte[0] : packed(classes);
      } catch (Throwable error) { // the compiler itself: nothing of it is used again
        Runtime.getRuntime().halt(1);
        return;
      }
      out.writeInt(answer.length);
      out.write(answer);
      out.flush();
    }
  }

  /** The classes below a folder, by name. */
  static Map<String, byte[]> within(Path folder) throws IOException {
    Map<String, byte[]> classes = new HashMap<>();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : (Iterable<Path>) files::iterator) {
        String name = folder.relativize(file).toString();
        if (name.endsWith(".class"))
          classes.put(name.substring(0, name.length() - 6).replace('/', '.'), Files.readAllBytes(file));
      }
    }
    return classes;
  }

  static byte[] packed(Map<String, byte[]> classes) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    for (Map.Entry<String, byte[]> each : classes.entrySet()) {
      out.writeUTF(each.getKey());
      out.writeInt(each.getValue().length);
      out.write(each.getValue());
    }
    return bytes.toByteArray();
  }

  static Map<String, byte[]> unpacked(byte[] all) throws IOException {
    Map<String, byte[]> classes = new HashMap<>();
    DataInputStream in = new DataInputStream(new ByteArrayInputStream(all));
    while (in.available() > 0) classes.put(in.readUTF(), in.readNBytes(in.readInt()));
    return classes;
  }

  /** Class name to byte code, or null where the program was refused and the reasons printed. */
  static Map<String, byte[]> compile(String source, PrintStream err) throws IOException {
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
    try (memory) {
      boolean good =
          compiler.getTask(new java.io.PrintWriter(err), memory, said, OPTIONS, null, List.of(program)).call();
      if (!good) {
        for (Diagnostic<?> each : said.getDiagnostics())
          if (each.getKind() == Diagnostic.Kind.ERROR)
            err.println("line " + each.getLineNumber() + ": error: " + each.getMessage(null));
        err.flush();
        return null;
      }
    }
    Map<String, byte[]> classes = new HashMap<>();
    written.forEach((name, bytes) -> classes.put(name, bytes.toByteArray()));
    return classes;
  }
}
