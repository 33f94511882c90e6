"""Simulated carriers: real HTTP servers that keep to a carrier's documentation, with faults on request."""

from worker.simulator.carrier import Order, Package, Request
from worker.simulator.faults import FAULTS, Fault
from worker.simulator.journeys import DEFAULT_JOURNEY, MAGIC_WORDS
from worker.simulator.returnpilot_order import PilotOrder
from worker.simulator.server import Simulator

__all__ = [
    "DEFAULT_JOURNEY",
    "FAULTS",
    "MAGIC_WORDS",
    "Fault",
    "Order",
    "Package",
    "PilotOrder",
    "Request",
    "Simulator",
]
