"""What the simulated world is made of: places, kinds of shops, segments of customers, cards, and phones.

Every name is invented. BINs are the networks' published test ranges, addresses the ranges reserved for documentation
(RFC 5737, RFC 3849), e-mail domains the reserved `.example` (RFC 2606), so that nothing here can be somebody's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of merchant. `share` is its weight among purchases, `online` the share of its merchants that are web
    shops; `amount_factor` scales the customer's own mean amount (a tram ticket against a fridge)."""

    key: str
    mcc: str
    share: float
    online: float
    amount_factor: float
    names: tuple[str, ...]


CATEGORIES: tuple[Category, ...] = (
    Category("groceries", "5411", 0.24, 0.06, 0.60, ("Marktgarten", "Verde Fresco", "Korb & Co", "Oliveira Mercado")),
    Category(
        "restaurants", "5812", 0.14, 0.05, 0.50, ("Taverna Lume", "The Copper Pot", "Bistro Anselme", "Noodle Yard")
    ),
    Category("fuel", "5541", 0.08, 0.00, 0.90, ("Nordtank", "Petrovia", "Autohof Linde", "Gazolin")),
    Category("transport", "4111", 0.09, 0.20, 0.25, ("Metrolinq", "TramPass", "Citybahn", "Fjordbuss")),
    Category("fashion", "5651", 0.08, 0.35, 1.10, ("Atelier Brume", "Loom & Thread", "Casa Nerina", "Halvorsen")),
    Category("pharmacy", "5912", 0.06, 0.12, 0.40, ("Salvia", "Apotek Birk", "Pharmacie Orme", "Vitalis")),
    Category("home", "5712", 0.05, 0.25, 1.30, ("Heimwerk", "Maison Talle", "Bricolo", "Hus & Have")),
    Category("electronics", "5732", 0.05, 0.40, 2.00, ("Voltaro", "Pixelhaus", "Electra Uno", "Byteland")),
    Category("travel", "4722", 0.04, 0.70, 2.40, ("Aerolis", "Viajo", "Hotel Meridia", "Nordwind Reisen")),
    Category("leisure", "7832", 0.06, 0.20, 0.50, ("Kino Astra", "Palco", "Arena Nord", "Ludoteka")),
    Category("digital", "5815", 0.07, 1.00, 0.25, ("Streamly", "Cloudbox", "Giftcode Hub", "Playforge", "Soundlet")),
    Category("cash", "6011", 0.04, 0.00, 1.20, ("Sparbank ATM", "Banco Alba ATM", "Credit Vosges ATM")),
)
CATEGORY_INDEX = {category.key: index for index, category in enumerate(CATEGORIES)}


@dataclass(frozen=True, slots=True)
class City:
    """A place customers live in and terminals stand in; `weight` is its share of both, degrees are WGS 84."""

    name: str
    country: str
    lon: float
    lat: float
    weight: float


CITIES: tuple[City, ...] = (
    City("Berlin", "DE", 13.405, 52.520, 9.0),
    City("Hamburg", "DE", 9.993, 53.551, 5.0),
    City("Munich", "DE", 11.582, 48.135, 5.0),
    City("Cologne", "DE", 6.960, 50.938, 4.0),
    City("Paris", "FR", 2.352, 48.857, 10.0),
    City("Lyon", "FR", 4.835, 45.764, 4.0),
    City("Marseille", "FR", 5.370, 43.296, 3.0),
    City("Madrid", "ES", -3.704, 40.417, 7.0),
    City("Barcelona", "ES", 2.174, 41.385, 6.0),
    City("Valencia", "ES", -0.376, 39.470, 3.0),
    City("Milan", "IT", 9.190, 45.464, 6.0),
    City("Rome", "IT", 12.496, 41.903, 6.0),
    City("Turin", "IT", 7.687, 45.070, 3.0),
    City("Amsterdam", "NL", 4.904, 52.368, 5.0),
    City("Brussels", "BE", 4.352, 50.850, 4.0),
    City("Vienna", "AT", 16.373, 48.208, 4.0),
    City("Lisbon", "PT", -9.139, 38.722, 4.0),
    City("Dublin", "IE", -6.260, 53.350, 3.0),
    City("Helsinki", "FI", 24.938, 60.170, 2.5),
    City("Athens", "GR", 23.728, 37.984, 3.0),
    City("Ljubljana", "SI", 14.506, 46.056, 1.5),
    City("Tallinn", "EE", 24.754, 59.437, 1.5),
)

# Where web shops are registered; the last four are where stolen cards are spent more often than not.
ONLINE_COUNTRIES: tuple[tuple[str, float, float, float], ...] = (
    ("DE", 10.45, 51.16, 0.20),
    ("FR", 2.21, 46.23, 0.14),
    ("NL", 5.29, 52.13, 0.12),
    ("IE", -8.24, 53.41, 0.14),
    ("LU", 6.13, 49.61, 0.10),
    ("ES", -3.75, 40.46, 0.08),
    ("US", -98.58, 39.83, 0.08),
    ("GB", -1.17, 52.36, 0.05),
    ("SG", 103.82, 1.35, 0.03),
    ("TR", 35.24, 38.96, 0.03),
    ("BR", -51.93, -14.24, 0.03),
)
FAR_COUNTRIES = frozenset({"US", "SG", "TR", "BR"})

# (key, share of customers, factor on the mean amount, factor on the number of purchases, share bought online)
SEGMENTS: tuple[tuple[str, float, float, float, float], ...] = (
    ("everyday", 0.46, 1.00, 1.0, 0.26),
    ("student", 0.16, 0.55, 1.1, 0.42),
    ("family", 0.20, 1.20, 1.3, 0.30),
    ("premium", 0.10, 1.60, 1.0, 0.36),
    ("senior", 0.08, 0.80, 0.6, 0.12),
)

# (network, share, BINs of its test range)
NETWORKS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("visa", 0.52, ("400000", "411111", "424242", "401288")),
    ("mastercard", 0.42, ("555555", "510510", "222300", "520082")),
    ("amex", 0.06, ("378282", "371449")),
)
CARD_TYPES: tuple[tuple[str, float], ...] = (("debit", 0.62), ("credit", 0.33), ("prepaid", 0.05))

EMAIL_DOMAINS: tuple[tuple[str, float], ...] = (
    ("postbox.example", 0.34),
    ("webmail.example", 0.28),
    ("inbox.example", 0.20),
    ("fibernet.example", 0.12),
    ("quickmail.example", 0.06),
)
THROWAWAY_DOMAIN = 4  # index above: where fraudsters' accounts are, and some honest people's too
USER_AGENTS: tuple[tuple[str, float], ...] = (
    ("Chrome Mobile", 0.34),
    ("Mobile Safari", 0.28),
    ("Chrome", 0.20),
    ("Firefox", 0.07),
    ("Edge", 0.06),
    ("Safari", 0.05),
)

# Share of a day's purchases in each hour (UTC; customers live one or two hours east of it). Nights are thin, not empty.
HOUR_SHAPE: tuple[float, ...] = (
    *(1.6, 1.2, 1.0, 1.0, 1.4, 2.4, 3.6, 4.6, 5.0, 5.2, 5.6, 6.0),
    *(5.8, 5.4, 5.2, 5.6, 6.4, 6.8, 6.2, 5.2, 4.2, 3.4, 2.8, 2.2),
)
# Monday to Sunday.
WEEKDAY_SHAPE: tuple[float, ...] = (0.92, 0.94, 0.97, 1.00, 1.14, 1.18, 0.85)
