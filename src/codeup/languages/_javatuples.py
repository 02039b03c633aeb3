"""Stand-ins for org.javatuples, which every Java prompt of MultiPL-E imports: Unit, Pair, ... Decade, from one text.

    Pair.with(1l, "a").getValue1()     "a"        Pair.with(1l, 2l).equals(Pair.with(1l, 2l))     true
    Pair.with(1l, 2l).setAt0(3l)       [3, 2]     Pair.with(1l, 2l).toList()                      [1, 2]

Written for what such programs use: making, reading, comparing, printing, and tuples with one value changed. Not there:
adding and removing places.
"""

from __future__ import annotations

NAMES = ("Unit", "Pair", "Triplet", "Quartet", "Quintet", "Sextet", "Septet", "Octet", "Ennead", "Decade")

_TUPLE = """package org.javatuples;
import java.util.*;
public abstract class Tuple implements Iterable<Object>, java.io.Serializable, Comparable<Tuple> {
  private final Object[] values;
  Tuple(Object... values) { this.values = values; }
  public abstract int getSize();
  public final Object getValue(int place) { return values[place]; }
  public final List<Object> toList() { return Collections.unmodifiableList(Arrays.asList(values)); }
  public final Object[] toArray() { return values.clone(); }
  public final Iterator<Object> iterator() { return toList().iterator(); }
  public final boolean contains(Object value) { return toList().contains(value); }
  public final boolean containsAll(Collection<?> some) { return toList().containsAll(some); }
  public final int indexOf(Object value) { return toList().indexOf(value); }
  public final int lastIndexOf(Object value) { return toList().lastIndexOf(value); }
  @Override public final String toString() { return toList().toString(); }
  @Override public final int hashCode() { return 31 + toList().hashCode(); }
  @Override public final boolean equals(Object other) {
    return other != null && getClass() == other.getClass() && toList().equals(((Tuple) other).toList());
  }
  @SuppressWarnings({"unchecked", "rawtypes"})
  @Override public int compareTo(Tuple other) {
    for (int i = 0; i < Math.min(values.length, other.values.length); i++) {
      int order = ((Comparable) values[i]).compareTo(other.values[i]);
      if (order != 0) return order;
    }
    return Integer.compare(values.length, other.values.length);
  }
}
"""


def sources() -> dict[str, str]:
    """File name -> Java source of the package."""
    return {"Tuple.java": _TUPLE} | {f"{name}.java": _one(name, size) for size, name in enumerate(NAMES, 1)}


def _one(name: str, size: int) -> str:
    letters = "ABCDEFGHIJ"[:size]
    types, values = ", ".join(letters), ", ".join(f"v{place}" for place in range(size))
    takes = ", ".join(f"{letter} v{place}" for place, letter in enumerate(letters))
    whole = f"{name}<{types}>"
    parts = [
        f"  private final {letter} v{place};\n  public {letter} getValue{place}() {{ return v{place}; }}\n"
        f"  public <X> {name}<{types.replace(letter, 'X')}> setAt{place}(X x) {{ "
        f"return new {name}<>({values.replace(f'v{place}', 'x')}); }}\n"
        for place, letter in enumerate(letters)
    ]
    given = "\n".join(f"    this.v{place} = v{place};" for place in range(size))
    cast = ", ".join(f"all[{place}]" for place in range(size))
    return (
        f"package org.javatuples;\npublic final class {whole} extends Tuple {{\n{''.join(parts)}"
        f"  public {name}({takes}) {{\n    super({values});\n{given}\n  }}\n"
        f"  public static <{types}> {whole} with({takes}) {{ return new {name}<>({values}); }}\n"
        f"  public static <X> {name}<{', '.join('X' * size)}> fromArray(X[] all) {{ return new {name}<>({cast}); }}\n"
        f"  @Override public int getSize() {{ return {size}; }}\n}}\n"
    )
