"""Looks a creation without an answer up at its carrier, and judges what is shown there by what we know ourselves."""

from worker.carriers.hindsight import hindsight, no_sense
from worker.carriers.port import CarrierError, NoTimeLeft, Searchable, Stopping
from worker.domain.kin import Kin
from worker.domain.lookup import Known, begins_at
from worker.domain.outcomes import Failed, FailureKind, Outcome
from worker.domain.returns import ReturnOrder
from worker.store.database import Database
from worker.store.ownership import read_owners, read_recorded


async def look_up(order: ReturnOrder, carrier: Searchable, database: Database, kin: Kin) -> Outcome:
    """What became of it; what we recorded in the accounts of `kin` must be shown, and what they own is not this one.

    The numbers we recorded are read before the carrier is asked, since each of them must be shown then. Whose the shown
    orders are is read afterwards, since workers go on recording meanwhile.
    """
    recorded = await read_recorded(database, kin.same_key, begins_at(order))
    with hindsight():
        try:
            search = await carrier.look_up(order)
            owners = await read_owners(
                database,
                order.id,
                near=kin.near,
                same_key=kin.same_key,
                numbers=search.numbers,
                references=search.references,
            )
            return search.result(Known(recorded, owners))
        except Stopping:
            raise
        except NoTimeLeft:
            # Handed back it would start over, and never end where the list is too long for the pace.
            return Failed(FailureKind.UNINTELLIGIBLE, "the list is too long to be searched within one lease")
        except CarrierError as error:
            if error.kind is FailureKind.UNINTELLIGIBLE:
                no_sense()
            return Failed(error.kind, error.message, error.retry_after, error.raw)
