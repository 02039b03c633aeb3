// Two texts line by line: what only the first has, what only the second has, what both have (longest common subsequence).

export const lines = (left, right) => {
  const a = left.split("\n"), b = right.split("\n");
  if (a.length > 800 || b.length > 800) return null;
  const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const found = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) found.push(["same", a[i++], j++]);
    else if (j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1])) found.push(["gone", a[i++]]);
    else found.push(["new", b[j++]]);
  }
  return found;
};
