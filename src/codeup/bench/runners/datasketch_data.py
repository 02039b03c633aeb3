"""Near duplicates with datasketch: 5-word shingles, 128 permutations, LSH at 0.8; runs without CodeUp."""

import json
import pathlib
import re
import sys
import time

from datasketch import MinHash, MinHashLSH

place = pathlib.Path(sys.argv[1])
order = json.loads(place.read_text(encoding="utf-8"))
texts = json.loads(pathlib.Path(order["texts"]).read_text(encoding="utf-8"))
word = re.compile(r"\w+|[^\w\s]")
started, cpu = time.perf_counter(), time.process_time()
index, repeats = MinHashLSH(threshold=0.8, num_perm=128), 0
for number, text in enumerate(texts):
    words = word.findall(text.lower())
    shingles = {" ".join(words[at : at + 5]).encode() for at in range(max(1, len(words) - 4))}
    signature = MinHash(num_perm=128, seed=1)
    signature.update_batch(list(shingles))
    repeats += bool(index.query(signature))
    index.insert(number, signature)
took = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - cpu, "rows": len(texts)}
place.with_name("result.json").write_text(json.dumps({**took, "repeats": repeats}), encoding="utf-8")
