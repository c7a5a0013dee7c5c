"""How many replicas, cores and how much memory a load needs: a simulation with the policy of the scheduler. Pure."""

from .costs import REFERENCE, WHOLE, Costs, Depths, Lengths
from .forecasts import Forecast, Layout, Limits, Load, Parts, forecast
from .plans import Goal, Plan, plan
from .policy import Policy, ServicePolicy, Text
from .simulation import Result, Simulation, Work
from .words import describe

__all__ = [
    "REFERENCE",
    "WHOLE",
    "Costs",
    "Depths",
    "Forecast",
    "Goal",
    "Layout",
    "Lengths",
    "Limits",
    "Load",
    "Parts",
    "Plan",
    "Policy",
    "Result",
    "ServicePolicy",
    "Simulation",
    "Text",
    "Work",
    "describe",
    "forecast",
    "plan",
]
