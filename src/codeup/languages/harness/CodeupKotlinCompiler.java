import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** JetBrains' compiler as a process that stays: one program after another, each in a folder of its own (kotlin.py). */
public final class CodeupKotlinCompiler {
  private CodeupKotlinCompiler() {}

  /** Arguments: the class of the compiler, then its own, in which Main.kt is the source and out the folder of classes. */
  public static void main(String[] arguments) throws Exception {
    Class<?> compiler = Class.forName(arguments[0]);
    Method exec = compiler.getMethod("exec", PrintStream.class, String[].class);
    PrintStream nowhere = new PrintStream(OutputStream.nullOutputStream());
    CodeupCompiler.serve(
        source -> {
          Path folder = Files.createTempDirectory(Path.of("."), "one").toAbsolutePath();
          try {
            Files.writeString(folder.resolve("Main.kt"), source);
            String[] own =
                Arrays.stream(arguments, 1, arguments.length)
                    .map(word -> List.of("Main.kt", "out").contains(word) ? folder.resolve(word).toString() : word)
                    .toArray(String[]::new);
            Object end = exec.invoke(compiler.getDeclaredConstructor().newInstance(), nowhere, own);
            if (end.toString().equals("OK")) return CodeupCompiler.within(folder.resolve("out"));
            if (end.toString().equals("COMPILATION_ERROR")) return (Map<String, byte[]>) null;
            throw new IOException("the compiler ended with " + end);
          } finally {
            try (Stream<Path> files = Files.walk(folder)) {
              for (Path file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) Files.delete(file);
            }
          }
        });
  }
}
