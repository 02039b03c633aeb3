"""Rows in the shape of DS-1000's ds1000.jsonl, written by hand: numpy, pandas and matplotlib, one with test_string.

The real file is not in the repository; these contexts are laid out as its contexts are (generate_test_case, exec_test,
exec_context with [insert], test_execution).
"""

from __future__ import annotations

from typing import Any

CONTEXT = '''{imports}
import copy
import io
import tokenize


def generate_test_case(test_case_id):
    def define_test_input(test_case_id):
        return {inputs}[test_case_id - 1]

    def generate_ans(data):
        return {answer}

    test_input = define_test_input(test_case_id)
    expected_result = generate_ans(copy.deepcopy(test_input))
    return test_input, expected_result


def exec_test(result, ans):
    {compare}
    return 1


exec_context = r"""
{imports}
{before}
[insert]
{after}
"""


def test_execution(solution: str):
    code = exec_context.replace("[insert]", solution)
    for i in range({cases}):
        test_input, expected_result = generate_test_case(i + 1)
        test_env = {{"test_input": test_input}}
        exec(code, test_env)
        assert exec_test(test_env["result"], expected_result)
'''
STRING = """

def test_string(solution: str):
    tokens = [token.string for token in tokenize.tokenize(io.BytesIO(solution.encode("utf-8")).readline)]
    assert "for" not in tokens and "while" not in tokens
"""


def row(
    number: int, library: str, prompt: str, reference: str, *, string: bool = False, **context: Any
) -> dict[str, Any]:
    """One row of the file."""
    metadata = {"problem_id": number, "library_problem_id": number, "library": library, "test_case_cnt": 1,
                "perturbation_type": "Origin", "perturbation_origin_id": number}  # fmt: skip
    text = CONTEXT.format(**{"before": "", "after": "", "cases": 1, **context}) + (STRING if string else "")
    return {"prompt": prompt, "reference_code": reference, "code_context": text, "metadata": metadata}


SQUARES = row(
    291, "Numpy", "Problem:\nSquare a, no loop.\nA:\n<code>\nimport numpy as np\n</code>\nBEGIN SOLUTION\n<code>\n",
    "result = a ** 2", string=True, imports="import numpy as np", inputs="[np.arange(4.0), np.array([-1.5])]",
    answer="np.square(data)", before="a = test_input", compare="np.testing.assert_allclose(result, ans)", cases=2,
)  # fmt: skip
SHUFFLED = row(
    0, "Pandas", "Problem:\nOrder the rows of df as List says.\n", "result = df.iloc[List]",
    imports="import pandas as pd\nimport numpy as np",
    inputs="[(pd.DataFrame({'a': [1, 2, 3], 'b': list('xyz')}), [2, 0, 1])]", answer="data[0].iloc[data[1]]",
    before="df, List = test_input", compare="pd.testing.assert_frame_equal(result, ans, check_dtype=False)",
)  # fmt: skip
TOTALS = row(
    5, "Pandas", "Problem:\nAdd up the columns in a function.\n", "    return df.sum().to_dict()",
    imports="import pandas as pd", inputs="[pd.DataFrame({'a': [1, 2]})]", answer="{'a': data['a'].sum()}",
    before="df = test_input\ndef f(df):", after="result = f(df)", compare="assert result == ans",
)  # fmt: skip
PLOTTED = row(
    511, "Matplotlib", "Problem:\nPlot y over x.\n", "plt.plot(x, y)",
    imports="import numpy as np\nimport matplotlib.pyplot as plt", inputs="[None]", answer="None",
    before="x = y = np.arange(3)", after="plt.savefig('output.png')\nresult = None",
    compare="assert len(plt.gca().get_lines()) == 1",
)  # fmt: skip
ABSENT = row(
    700, "Tensorflow", "Problem:\nAdd.\n", "result = a", imports="import no_such_library_of_codeup", inputs="[1]",
    answer="data", before="a = test_input", compare="assert result == ans",
)  # fmt: skip
ROWS = [SHUFFLED, TOTALS, SQUARES, PLOTTED]
