"""Every strategy of the registry keeps the contract that plug-ins are held to."""

import pytest

from hardprompt.registry import STRATEGIES, make_strategy
from hardprompt.testing import StrategyContract

REFERENCES = {"random", "exhaustive"}
VARIANTS = [
    *((name, {}) for name in STRATEGIES if name != "optuna"),
    ("relax", {"projection": "end", "steps": 10}),
    ("relax", {"encoder": "mlp", "hidden": 16, "steps": 10}),
    ("relax", {"encoder": "lstm", "hidden": 8, "steps": 5, "projection": "end"}),
    ("relax", {"projection": "pull", "steps": 10, "lr": 0.3}),
    ("relax", {"projection": "gumbel", "steps": 10}),
    ("relax", {"projection": "langevin", "steps": 10, "batch": 4}),
    ("optuna", {"sampler": "tpe"}),  # the default takes its time: test_optuna.py
    ("optuna", {"sampler": "tpe", "over": "axes"}),
    ("optuna", {"sampler": "cmaes"}),
    ("optuna", {"sampler": "nsga2"}),
    ("swap", {"width": 1, "top_k": 1, "starts": 1}),
    ("swap", {"width": 40, "top_k": 30, "places": "one"}),
    ("swap", {"places": "turn", "average": 2, "fluent": 0.0}),
    ("swap", {"places": "even", "accept": "anneal"}),
    ("swap", {"accept": "always"}),
    ("swap", {"momentum": 0.4}),
    ("anneal", {"chains": 6, "near": 0.0}),
    ("beam", {"propose": "model", "keep": "beam"}),
    ("beam", {"propose": "random", "backward": True}),
    ("evolution", {"crossover": "one-point", "near": 1.0}),
    ("evolution", {"crossover": "two-point", "elites": 2, "fluent": 0.0}),
    ("edit", {"accept": "anneal"}),
    ("edit", {"accept": "tabu"}),
    ("policy", {"generator": "table"}),
    ("policy", {"generator": "simplex", "lr": 0.01, "reward": "plain"}),
    ("policy", {"generator": "mlp", "lr": 0.01}),
    ("portfolio", {"members": "anneal,evolution,swap", "turn": 5, "patience": 1}),
]


@pytest.fixture(
    params=VARIANTS, ids=lambda v: "-".join([v[0], *(f"{k}={x}" for k, x in v[1].items())])
)
def variant(request):
    return request.param


class TestEveryStrategy(StrategyContract):
    @pytest.fixture(autouse=True)
    def _choose(self, variant):
        name, settings = variant
        self.make = lambda: make_strategy(name, settings)
        # One swap at a time, ten coarse steps, or to leave the best at every step is what the
        # papers' ablations do, not a search.
        weak = settings.get("top_k") == 1 or settings.get("projection") == "end"
        weak = weak or settings.get("accept") == "tabu"
        self.beats_random = name not in REFERENCES and not weak
