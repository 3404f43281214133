"""Sample data that looks like a real company's. The same seed gives the same data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Self

from example_project.business import words
from example_project.business.models import Contract, InventoryItem, Partner, Ticket

# Fixed days, so that the data are the same tomorrow.
FIRST_DAY = date(2019, 1, 7)
LAST_DAY = date(2026, 10, 30)


@dataclass(frozen=True)
class Volume:
    """How many rows of each table."""

    partners: int
    contracts: int
    tickets: int
    items: int

    def scaled(self, factor: float) -> Self:
        """So many times as much, but always enough of each to fill a page."""

        def scale(number: int) -> int:
            return max(10, round(number * factor))

        return type(self)(
            scale(self.partners), scale(self.contracts), scale(self.tickets), scale(self.items)
        )


class Blanks:
    """Makes the words for the blanks of a sentence, new ones for each blank."""

    def __init__(self, **makers: Callable[[], object]) -> None:
        self.makers = makers

    def __getitem__(self, name: str) -> object:
        return self.makers[name]()


class SampleData:
    """Makes the rows of one tenant."""

    def __init__(self, seed: str) -> None:
        self.random = Random(seed)
        self.blanks = Blanks(
            n=lambda: self.random.randint(2, 9),
            m=lambda: self.random.randint(0, 9),
            code=lambda: f"E{self.random.randint(100, 499)}",
            year=lambda: self.random.randint(2020, 2026),
            name=self.person,
            place=self.place,
            weekday=lambda: self.random.choice(words.WEEKDAYS),
        )
        # The tenant's own people, who work on the tickets.
        self.team = [self.person() for _ in range(8)]

    def fill(self, volume: Volume) -> None:
        """Fill the current tenant's empty tables. The caller holds a transaction."""
        partners = [self.partner(n) for n in range(volume.partners)]
        Partner.objects.bulk_create(partners)
        contracts = [
            self.contract(n, self.random.choice(partners)) for n in range(volume.contracts)
        ]
        Contract.objects.bulk_create(contracts)
        begun = [contract for contract in contracts if contract.status != Contract.Status.DRAFT]
        moments = [
            (self.moment_within(contract), contract)
            for contract in self.random.choices(begun, k=volume.tickets)
        ]
        moments.sort(key=lambda pair: pair[0])
        Ticket.objects.bulk_create(
            self.ticket(n, contract, opened_at) for n, (opened_at, contract) in enumerate(moments)
        )
        InventoryItem.objects.bulk_create(
            self.item(n, self.random.choice(begun)) for n in range(volume.items)
        )

    def partner(self, n: int) -> Partner:
        contact = self.person()
        name = (
            f"{self.random.choice(words.COMPANY_NAMES)} {self.random.choice(words.TRADES)} "
            f"{self.random.choice(words.LEGAL_FORMS)}"
        )
        return Partner(
            number=f"P{10001 + n}",
            name=name,
            contact=contact,
            email=f"service{10001 + n}@{name.split()[0].lower()}.example",
            street=f"{self.random.choice(words.STREETS)} {self.random.randint(1, 120)}",
            city=self.random.choice(words.CITIES),
            since=self.day(FIRST_DAY, LAST_DAY),
            notes=self.random.choice(words.PARTNER_NOTES),
        )

    def contract(self, n: int, partner: Partner) -> Contract:
        status = self.random.choices(
            [
                Contract.Status.ACTIVE,
                Contract.Status.EXPIRED,
                Contract.Status.TERMINATED,
                Contract.Status.DRAFT,
            ],
            # The first ones are active, so that the smallest volume has active ones, too.
            weights=[1, 0, 0, 0] if n < 5 else [70, 15, 10, 5],
        )[0]
        starts_on = self.day(FIRST_DAY, LAST_DAY - timedelta(days=90))
        ends_on: date | None = None
        if status == Contract.Status.DRAFT:
            starts_on = LAST_DAY + timedelta(days=self.random.randint(10, 120))
        elif status != Contract.Status.ACTIVE:
            ends_on = self.day(starts_on + timedelta(days=30), LAST_DAY)
        elif self.random.random() < 0.4:
            ends_on = LAST_DAY + timedelta(days=self.random.randint(30, 900))
        device = self.random.choice(words.DEVICES)
        count = self.random.randint(2, 40)
        clauses = self.random.sample(words.CLAUSES, k=self.random.randint(6, len(words.CLAUSES)))
        return Contract(
            number=f"C-{starts_on.year}-{n + 1:05}",
            partner=partner,
            title=self.random.choice(words.CONTRACT_TITLES).format(
                devices=f"{count} {device.name.lower()}s"
            ),
            status=status,
            monthly_fee=self.amount(count * device.price * 0.025),
            starts_on=starts_on,
            ends_on=ends_on,
            notice_months=self.random.choice([1, 3, 3, 6]),
            terms="\n\n".join(
                f"§ {number} {self.sentence([clause])}" for number, clause in enumerate(clauses, 1)
            ),
        )

    def ticket(self, n: int, contract: Contract, opened_at: datetime) -> Ticket:
        device = self.random.choice(words.DEVICES)
        faults = self.random.choice([words.FAULTS, words.FAULTS_OF_CATEGORY[device.category]])
        fault = self.sentence(faults)
        assigned_to = self.random.choice(self.team)
        observations = self.random.sample(words.OBSERVATIONS, k=self.random.randint(2, 4))
        description = [
            f"The {device.name.lower()} in {self.random.choice(words.PLACES)}, serial number "
            f"{self.serial_number(device, self.random.randrange(100_000))}, {fault}.",
            *(self.sentence([observation]) for observation in observations),
            self.sentence(words.REQUESTS),
        ]
        log, last = [], opened_at
        for action in self.random.sample(words.ACTIONS, k=self.random.randint(2, 6)):
            moment = last + timedelta(minutes=self.random.randint(25, 2600))
            if moment.date() > LAST_DAY:
                break
            log.append(f"{moment:%Y-%m-%d %H:%M} {assigned_to}: {self.sentence([action])}")
            last = moment
        # Old tickets are closed, recent ones often not yet.
        age = LAST_DAY - last.date()
        is_closed = self.random.random() < age / timedelta(days=40)
        if is_closed:
            log.append(f"{last:%Y-%m-%d %H:%M} {assigned_to}: {self.sentence(words.RESOLUTIONS)}")
            status = Ticket.Status.CLOSED
        else:
            status = self.random.choice([Ticket.Status.OPEN, Ticket.Status.WAITING])
        return Ticket(
            number=f"T{100_001 + n}",
            contract=contract,
            subject=f"{device.name} {fault}",
            description=" ".join(description),
            work_log="\n".join(log),
            status=status,
            priority=self.random.choices(Ticket.Priority.values, weights=[2, 6, 1])[0],
            reported_by=self.person(),
            assigned_to=assigned_to,
            hours=Decimal(self.random.randint(1, 40)) / 4,
            opened_at=opened_at,
            closed_at=last if is_closed else None,
        )

    def item(self, n: int, contract: Contract) -> InventoryItem:
        device = self.random.choice(words.DEVICES)
        purchased_on = self.day(FIRST_DAY, LAST_DAY)
        in_store = self.random.random() < 0.3
        return InventoryItem(
            serial_number=self.serial_number(device, 200_000 + n),
            name=device.name,
            category=device.category,
            contract=None if in_store else contract,
            location="Own store" if in_store else f"With the customer, {self.place()}",
            purchased_on=purchased_on,
            purchase_price=self.amount(device.price * self.random.uniform(0.85, 1.1)),
            warranty_until=purchased_on + timedelta(days=self.random.choice([365, 730, 1095])),
            remarks=self.sentence(words.ITEM_REMARKS),
        )

    def person(self) -> str:
        return f"{self.random.choice(words.FIRST_NAMES)} {self.random.choice(words.LAST_NAMES)}"

    def place(self) -> str:
        return self.random.choice(words.PLACES)

    def day(self, first: date, last: date) -> date:
        return first + timedelta(days=self.random.randint(0, (last - first).days))

    def moment_within(self, contract: Contract) -> datetime:
        """A time at which somebody at work might report a fault."""
        last = min(contract.ends_on or LAST_DAY, LAST_DAY)
        tenant_lock = time(self.random.randint(6, 17), self.random.randint(0, 59))
        return datetime.combine(self.day(contract.starts_on, last), tenant_lock, tzinfo=UTC)

    def amount(self, about: float) -> Decimal:
        cents = self.random.choice([0, 50, 90, 95])
        return Decimal(round(about)) + Decimal(cents) / 100

    def serial_number(self, device: words.Device, number: int) -> str:
        return f"{device.code}-{number:06}"

    def sentence(self, choices: Sequence[str]) -> str:
        """One of these sentences, with its blanks filled."""
        return self.random.choice(choices).format_map(self.blanks)
