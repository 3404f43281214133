"""The words and sentences that `sample_data` makes rows from."""

from dataclasses import dataclass

# fmt: off
FIRST_NAMES = (
    "Ada", "Adrian", "Agnes", "Alan", "Amira", "André", "Bettina", "Bruno", "Carla", "Cem",
    "Chloé", "Clara", "Daniel", "Diana", "Elena", "Emil", "Erik", "Esther", "Farid", "Fiona",
    "Frank", "Greta", "Hannah", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Julia", "Karim",
    "Katrin", "Lars", "Leila", "Lena", "Louis", "Marco", "Maria", "Martin", "Mei", "Nadia",
    "Nils", "Nora", "Olga", "Oscar", "Paula", "Peter", "Petra", "Rafael", "Rosa", "Ruth",
    "Samuel", "Selma", "Simon", "Sofia", "Stefan", "Tara", "Thomas", "Tom", "Vera", "Viktor",
    "Yusuf", "Zoë",
)
LAST_NAMES = (
    "Adler", "Albrecht", "Andersen", "Arnold", "Bauer", "Becker", "Bennett", "Berger", "Brandt",
    "Brooks", "Carter", "Cohen", "Costa", "Davies", "Demir", "Dubois", "Ellis", "Engel", "Evans",
    "Ferrari", "Fischer", "Foster", "Fränkel", "García", "Graham", "Haas", "Hansen", "Hoffmann",
    "Hughes", "Ivanova", "Jansen", "Keller", "Khan", "Koch", "Kowalski", "Krause", "Lambert",
    "Larsen", "Lehmann", "López", "Maier", "Marino", "Meyer", "Moreau", "Murphy", "Nguyen",
    "Novák", "Olsen", "Ortiz", "Patel", "Peters", "Petrov", "Quinn", "Reed", "Richter", "Rossi",
    "Sanders", "Schmidt", "Schulz", "Silva", "Sommer", "Stein", "Taylor", "Vogel", "Wagner",
    "Walsh", "Weber", "Wolf",
)
COMPANY_NAMES = (
    "Alder", "Anchor", "Arden", "Baltic", "Beacon", "Birch", "Bramble", "Bridgewater", "Cedar",
    "Clearwater", "Compass", "Crown", "Delta", "Dover", "Elbe", "Elm", "Fairview", "Falcon",
    "Fjord", "Granite", "Greenfield", "Harbour", "Hazel", "Heron", "Highland", "Juniper",
    "Kestrel", "Lakeside", "Larch", "Linden", "Maple", "Meridian", "Milton", "Northgate",
    "Oakridge", "Orchard", "Pine", "Prairie", "Quarry", "Ridge", "Riverside", "Rowan", "Saxon",
    "Silverbrook", "Southport", "Stonebridge", "Summit", "Thames", "Tidewater", "Westfield",
    "Willow", "Windmill",
)
# fmt: on
TRADES = (
    "Logistics",
    "Foods",
    "Cold Storage",
    "Furniture",
    "Pharma Supply",
    "Building Materials",
    "Printing",
    "Textiles",
    "Wholesale",
    "Packaging",
    "Motor Parts",
    "Garden Centres",
    "Books",
    "Electronics",
    "Dairy",
    "Freight",
)
LEGAL_FORMS = ("GmbH", "Ltd", "Inc.", "AG", "& Sons", "Group", "LLC", "KG")
STREETS = (
    "Bakery Lane",
    "Canal Street",
    "Chestnut Avenue",
    "Dock Road",
    "Foundry Street",
    "Hafenstraße",
    "Harbour Road",
    "Industriestraße",
    "Kiln Lane",
    "Lindenallee",
    "Market Street",
    "Mill Road",
    "Orchard Way",
    "Station Road",
    "Werkstraße",
    "Wharf Street",
)
CITIES = (
    "Antwerp",
    "Atlanta",
    "Birmingham",
    "Bremen",
    "Bristol",
    "Chicago",
    "Cologne",
    "Denver",
    "Dresden",
    "Gdańsk",
    "Hamburg",
    "Leeds",
    "Leipzig",
    "Lyon",
    "Malmö",
    "Memphis",
    "Newark",
    "Nürnberg",
    "Portland",
    "Rotterdam",
    "Stuttgart",
    "Toledo",
    "Turin",
    "Vienna",
)


@dataclass(frozen=True)
class Device:
    name: str
    category: str
    code: str
    price: int  # new, in whole units of currency


DEVICES = (
    Device("Handheld scanner", "Scanners", "HS", 640),
    Device("Ring scanner", "Scanners", "RS", 890),
    Device("Label printer", "Printers", "LP", 1150),
    Device("Mobile receipt printer", "Printers", "MP", 480),
    Device("Forklift terminal", "Terminals", "FT", 2350),
    Device("Packing station terminal", "Terminals", "PT", 1480),
    Device("Floor scale", "Scales", "FS", 1720),
    Device("Parcel scale", "Scales", "PS", 560),
    Device("Forklift charger", "Power", "FC", 3100),
    Device("Cold store sensor", "Sensors", "CS", 210),
    Device("Dock door sensor", "Sensors", "DS", 165),
    Device("Access point", "Network", "AP", 420),
    Device("Conveyor drive", "Conveyors", "CD", 2780),
    Device("Pallet wrapper", "Packing", "PW", 6900),
)
PLACES = (
    "the goods-in area",
    "hall 1",
    "hall 2",
    "hall 3",
    "the cold store",
    "packing line A",
    "packing line B",
    "the returns desk",
    "the loading dock",
    "the high-bay rack",
    "the dispatch office",
    "the spare parts store",
)
CONTRACT_TITLES = (
    "Full service for {devices}",
    "Maintenance of {devices}",
    "Rental of {devices} with exchange service",
    "Inspection and calibration of {devices}",
    "On-call service for {devices}, day and night",
    "Remote support for {devices}",
)
CLAUSES = (
    "The service provider inspects every device under this contract {n} times a year, replaces the "
    "parts that are subject to wear and records the result in the inspection report.",
    "Faults are reported by telephone or through the portal. Work begins within {n} hours on "
    "working days between 7:00 and 18:00; for faults that stop a line, within two hours.",
    "A device that cannot be repaired on site within {n} working days is replaced by one of the "
    "same or of a better kind until the repair is done.",
    "Travel within {n}0 kilometres of the service provider's nearest branch is included. Beyond "
    "that it is charged by the kilometre at the rate in the current price list.",
    "Consumables such as labels, ribbons, film and batteries are not part of the monthly fee and "
    "are delivered on request, normally within {n} working days.",
    "The monthly fee is due in advance on the third working day. It may be adjusted once a year, "
    "with notice of {n} months, by no more than the change of the producer price index.",
    "The customer names one person per site who may report faults and sign service reports, and "
    "keeps the area within {n} metres of the devices accessible.",
    "Damage by improper use, by water or by changes that others made to the devices is repaired at "
    "the hourly rates of the price list, after an estimate if it exceeds {n}00.",
    "Data on devices that are taken back is erased within {n} working days; the customer receives "
    "a written confirmation for each serial number.",
    "Either party may terminate the contract in writing with the agreed notice. The right to "
    "terminate for good cause remains, in particular after {n} late payments.",
    "Changes to the number of devices are agreed in writing and take effect on the first day of "
    "the following month; up to {n} devices may be added without a new inspection of the site.",
    "The service provider is liable for damage up to {n} times the annual fee, and without limit "
    "for intent, gross negligence and injury to persons.",
)
# Faults of any device, and of the devices of a category.
FAULTS = (
    "does not switch on any more",
    "restarts several times an hour",
    "reports error {code} and stops",
    "was hit by a forklift and is bent",
    "drops about one in {n}0 messages",
    "switches itself off after {n} minutes",
    "loses its connection and finds it again only after a restart",
)
FAULTS_OF_CATEGORY = {
    "Scanners": (
        "beeps but does not read labels on film",
        "loses its charge after {n} hours",
    ),
    "Printers": (
        "prints a blank label after every {n} good ones",
        "pulls in two labels at once",
    ),
    "Terminals": (
        "shows yesterday's orders",
        "does not accept the new badges",
        "is far too slow since the last update",
    ),
    "Scales": (
        "gives readings that are off by about {n} percent",
        "does not come to rest at zero",
    ),
    "Power": (
        "does not charge beyond {n}0 percent",
        "trips the fuse of the whole row",
    ),
    "Sensors": (
        "sends no readings between midnight and {n} o'clock",
        "raises an alarm although nothing is wrong",
    ),
    "Network": (
        "is visible, but nothing gets through",
        "reaches only half as far as it used to",
    ),
    "Conveyors": (
        "makes a grinding noise under load",
        "stops for {n} seconds at every transfer",
    ),
    "Packing": (
        "tears the film after {n} turns",
        "does not find the top of the pallet",
    ),
}
OBSERVATIONS = (
    "It began on {weekday} during the early shift, and nothing had been changed before that.",
    "The same thing happened about {n} weeks ago and went away by itself.",
    "A second device in {place} behaves in the same way, although less often.",
    "Switching it off for {n} minutes helps for a while.",
    "The display shows {code} for a moment before it goes dark.",
    "Colleagues work around it with the device from {place}, which costs them about {n} minutes "
    "an hour.",
    "The cable and the power supply were exchanged with those of a working device; no difference.",
    "It gets noticeably warm at the back, about {n}5 degrees by our thermometer.",
    "The supervisor says that it must be running again before the inventory count on {weekday}.",
    "We have {n} trucks waiting at the dock because of it.",
    "Cleaning the contacts, as you suggested last time, did not change anything.",
    "There is no visible damage, and the seal is intact.",
    "It only happens when the doors of {place} stand open for longer than {n} minutes.",
    "The last inspection sticker is from {n} months ago.",
)
REQUESTS = (
    "Please call before you come, the gate is closed from 12:00 to 12:30.",
    "Please bring a replacement if at all possible.",
    "An appointment in the morning would suit us best.",
    "Ask for {name} at the gate, who knows the details.",
    "Photographs are attached to the report of the day.",
    "Is this still covered by the contract? If not, please send an estimate first.",
    "It is not urgent, the next regular visit is early enough.",
)
ACTIONS = (
    "Called back. {name} describes the fault as in the report; arranged a visit.",
    "Read the log remotely: {n} entries {code} since {weekday}, all of them in {place}.",
    "On site. Opened the device, cleaned it, replaced the fuse, test run of {n}0 minutes without "
    "a fault.",
    "Part ordered from the manufacturer, delivery promised in {n} working days.",
    "Part arrived and fitted. Calibrated with the reference weights, deviation 0.{n} percent.",
    "Installed firmware {n}.{m}, restored the customer's settings from the saved profile.",
    "Exchanged the device for one from our own store; the old one goes to the workshop.",
    "Moved the access point by {n} metres, signal at the far end now -{n}{m} dBm.",
    "No fault found in {n} hours of continuous running. Left a data logger in place.",
    "Evaluated the data logger: voltage drops whenever the charger in {place} starts. Informed the "
    "customer's electrician.",
    "{name} confirms that it has been running since {weekday} without a fault.",
    "Asked for the inspection report of {weekday}, no answer so far.",
    "Replaced drive belt and tensioner, greased the bearings, noise is gone.",
    "Tightened the connector at the back, which had worked loose. Showed {name} how to check it.",
)
RESOLUTIONS = (
    "Closed with the customer's agreement.",
    "Closed. Covered by the contract, nothing to invoice.",
    "Closed. {n} hours and travel to be invoiced, see the service report.",
    "Closed after two weeks without a new occurrence.",
)
PARTNER_NOTES = (
    "Deliveries only before 14:00.",
    "Visitors need safety shoes and sign in at the gate.",
    "Invoices by e-mail, with the order number in the subject.",
    "Second site planned; ask again in spring.",
    "Wants a quarterly summary of all tickets.",
    "Cold store: allow time to warm up devices before opening them.",
    "",
    "",
)
ITEM_REMARKS = (
    "Battery replaced in {year}.",
    "Housing scratched, works perfectly.",
    "Spare power supply is in the same box.",
    "Firmware {n}.{m}, do not update before the manufacturer's release note is understood.",
    "Came back from {place} in {year}, tested and cleaned.",
    "",
    "",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
