"""Personal data of the customers: invented names and addresses of no real person.

E-mail addresses are under example.com, and telephone numbers are in the range that Ofcom reserves
for drama.
"""

import numpy as np
import pandas as pd

from retail_pipeline.retail_api.simulator.draws import Draws, Ints

_FIRST = (
    *("Ada", "Amir", "Anna", "Ben", "Carla", "Chen", "Clara"),
    *("David", "Elif", "Emma", "Farid", "Finn", "Grace", "Hana"),
    *("Hugo", "Ines", "Ivan", "Jack", "Jana", "Joan", "Karim"),
    *("Lena", "Liam", "Lucy", "Maya", "Milan", "Mina", "Nadia"),
    *("Noah", "Nora", "Olga", "Omar", "Paul", "Priya", "Rosa"),
    *("Ruth", "Sami", "Sara", "Tom", "Vera", "Yusuf", "Zoe"),
)
_LAST = (
    *("Adams", "Ahmed", "Baker", "Bauer", "Bell", "Brown", "Clark"),
    *("Costa", "Cox", "Davis", "Evans", "Fischer", "Ford", "Garcia"),
    *("Gray", "Green", "Hall", "Hill", "Hughes", "Jones", "Kaur"),
    *("Khan", "King", "Lee", "Lewis", "Martin", "Meyer", "Moore"),
    *("Nowak", "Patel", "Reed", "Rossi", "Shah", "Silva", "Smith"),
    *("Taylor", "Turner", "Walker", "Ward", "White", "Wood", "Young"),
)
_STREETS = ("High Street", "Station Road", "Mill Lane", "Church Street", "Park Avenue", "The Green")
_TOWNS = {
    "United Kingdom": ("Leeds", "Bristol", "Norwich", "Cardiff", "York"),
    "Ireland": ("Cork", "Galway", "Dublin"),
    "Germany": ("Bremen", "Kassel", "Ulm"),
    "France": ("Lyon", "Nantes", "Lille"),
    "Netherlands": ("Utrecht", "Breda", "Delft"),
    "Spain": ("Oviedo", "Murcia", "Cadiz"),
}
COUNTRIES = tuple(_TOWNS)
_COUNTRY_SHARES = np.cumsum([0.86, 0.04, 0.035, 0.03, 0.02, 0.015])

CHANNELS = ("web", "app", "store", "marketplace")
_CHANNEL_SHARES = np.cumsum([0.52, 0.26, 0.14, 0.08])


def country_numbers(draws: Draws, customer: Ints) -> Ints:
    """Return the customers' countries as indices into `COUNTRIES`."""
    return _pick(_COUNTRY_SHARES, draws.uniform("country", customer))


def channel_numbers(draws: Draws, customer: Ints, purchase: Ints) -> Ints:
    """Return channels as indices into `CHANNELS`: four times of five the customer's usual one."""
    usual = _pick(_CHANNEL_SHARES, draws.uniform("usual channel", customer))
    other = _pick(_CHANNEL_SHARES, draws.uniform("other channel", customer, purchase))
    return np.where(draws.uniform("channel habit", customer, purchase) < 0.8, usual, other)


def personal_data(draws: Draws, customer: Ints) -> pd.DataFrame:
    """Return the columns `name, email, phone, address, country` of the customers."""
    first = draws.integers("first name", len(_FIRST), customer)
    last = draws.integers("last name", len(_LAST), customer)
    house = draws.integers("house", 180, customer) + 1
    street = draws.integers("street", len(_STREETS), customer)
    town = draws.integers("town", 60, customer)
    country = [COUNTRIES[number] for number in country_numbers(draws, customer)]
    phone = draws.integers("phone", 1000, customer)
    names = [(_FIRST[f], _LAST[n]) for f, n in zip(first, last, strict=True)]
    columns = {
        "name": [f"{f} {n}" for f, n in names],
        "email": [
            f"{f}.{n}.{c}@example.com".lower()
            for (f, n), c in zip(names, customer.tolist(), strict=True)
        ],
        "phone": [f"+447700900{number:03d}" for number in phone.tolist()],
        "address": [
            f"{h} {_STREETS[s]}, {_TOWNS[c][t % len(_TOWNS[c])]}"
            for h, s, c, t in zip(house.tolist(), street, country, town, strict=True)
        ],
        "country": country,
    }
    return pd.DataFrame(columns, dtype=object)


def _pick(shares: np.ndarray, uniform: np.ndarray) -> Ints:
    return np.minimum(np.searchsorted(shares, uniform), len(shares) - 1)
