"""What a recipe will need, before anything is loaded: memory, hours and cost of its stages.

study.py    recipe -> shape, tokens (tokens.py), memory -> does it fit, how long (machines.py) -> results.py
"""

from __future__ import annotations

from codeup.planning.results import Fit, Measurement, StageNeeds, StudyPlan, Workload
from codeup.planning.study import UTILISATION, base_shape, plan_study

__all__ = ["UTILISATION", "Fit", "Measurement", "StageNeeds", "StudyPlan", "Workload", "base_shape", "plan_study"]
