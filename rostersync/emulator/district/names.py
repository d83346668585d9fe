"""The names that synthetic people and schools are made of. None refers to a real person."""

from __future__ import annotations

import unicodedata

GIVEN: tuple[str, ...] = (
    "Ada", "Aaliyah", "Alejandro", "Amara", "Amélie", "Anders", "Anh", "Aoife", "Ava", "Ayşe",
    "Beatriz", "Ben", "Björn", "Camila", "Chloë", "Chidi", "Daniel", "D'Andre", "Diego", "Dilnoza",
    "Elif", "Eliza", "Emeka", "Emma", "Étienne", "Fatima", "Finn", "François", "Gabriela", "Grace",
    "Håkon", "Hana", "Hiroshi", "Ibrahim", "Imani", "Ines", "Isla", "Ivana", "Jackson", "Jean-Luc",
    "Ji-woo", "José", "Juan Carlos", "Kai", "Kamala", "Karim", "Kateřina", "Keisha", "Layla",
    "Leilani", "Liam", "Linh", "Łukasz", "Lucía", "Magda", "Malik", "Marco", "Maria", "Mary Ann",
    "Mateo", "Mei", "Mikołaj", "Mohammed", "Naïma", "Nia", "Niamh", "Noah", "Nour", "Olivia",
    "Omar", "Øyvind", "Pablo", "Petra", "Priya", "Quinn", "Rania", "Renée", "Rosa", "Ruth",
    "Samira", "Santiago", "Sean", "Şebnem", "Shanice", "Siobhán", "Sofia", "Søren", "Tadeo",
    "Tâm", "Thandiwe", "Tomás", "Uma", "Valentina", "Wei", "Xavier", "Yara", "Yusuf", "Zaid",
    "Zoë", "Zuri", "Юлия", "Ἑλένη", "Ζωή", "明", "さくら", "지우",
)  # fmt: skip

FAMILY: tuple[str, ...] = (
    "Abara", "Abdi", "Ackerman", "Adeyemi", "Ågren", "Aguilar", "Ahmed", "Alvarez", "Andersen",
    "Antonelli", "Baker", "Bakshi", "Baranowski", "Begay", "Bello", "Bianchi", "Björklund",
    "Bondarenko", "Brown", "Calderón", "Castillo", "Çelik", "Chen", "Clark", "Coleman", "Costa",
    "D'Angelo", "Dávila", "De la Cruz", "Delgado", "Diallo", "Dubois", "Dvořák", "Edwards",
    "El-Amin", "Eriksen", "Espinoza", "Fernández", "Fischer", "Fitzgerald", "Flores", "Fofanah",
    "Garcia", "Gonçalves", "Grüber", "Gupta", "Haddad", "Hansen", "Hernández", "Hoang", "Ibáñez",
    "Ito", "Jackson", "Jankowski", "Johnson", "Jørgensen", "Kaur", "Kim", "Kowalczyk", "Kovač",
    "Lafleur", "Larsen", "Le", "Lindqvist", "López", "MacLeod", "Mahlangu", "Martínez", "Mbeki",
    "Mensah", "Moreau", "Müller", "Muñoz", "Nakamura", "Ndiaye", "Nguyễn", "Novák", "Núñez",
    "O'Brien", "O'Brien-Lee", "Ó Briain", "Ødegård", "Okafor", "Okonkwo", "Olsen", "Ortiz", "Osei",
    "Öztürk", "Papadopoulos", "Park", "Patel", "Peña", "Petrov", "Quispe", "Ramírez", "Reyes",
    "Rossi", "Rousseau", "Saito", "Salazar", "Sánchez", "Schmidt", "Silva", "Singh", "Smith",
    "Smith-Jones", "Sørensen", "St. John", "Świątek", "Tanaka", "Thompson", "Tiết", "Torres",
    "Tran", "Ueda", "Van der Berg", "Vargas", "Vega", "Villaseñor", "Wagner", "Walker", "Wang",
    "Weiß", "Williams", "Wójcik", "Xu", "Yamada", "Yılmaz", "Yoder", "Young", "Zamora", "Zhang",
    "Žižek", "Иванова", "王", "田中", "김",
)  # fmt: skip

MIDDLE: tuple[str, ...] = (
    "", "", "", "A", "Ann", "B.", "Chukwu", "David", "Eli", "Grace", "James", "José", "Lee",
    "Marie", "May", "R", "Rose", "Thi", "van", "Élise",
)  # fmt: skip

PREFERRED: tuple[str, ...] = ("Al", "Bee", "Cam", "Dee", "Jo", "Kit", "Max", "Sam", "Tee", "Zed")

SCHOOLS: tuple[str, ...] = (
    "Lincoln", "Cedar Creek", "Harriet Tubman", "Peña Blanca", "Riverside", "Franklin", "Lakeview",
    "O'Keeffe", "Sojourner Truth", "Mountain View", "Saint-Exupéry", "Washington", "Oak Hill",
    "César Chávez", "Prairie", "Eastside", "Rosa Parks", "Willow Bend", "Hawthorne", "Northgate",
)  # fmt: skip

TITLES: tuple[str, ...] = ("", "Ms.", "Mr.", "Dr.", "Mx.", "Teacher")

STAFF_TITLES: tuple[str, ...] = ("Counselor", "Librarian", "Nurse", "Aide", "Secretary", "")


def ascii_word(name: str) -> str:
    """Return the lower-case ASCII letters of a name as an email address spells them."""
    flat = unicodedata.normalize("NFKD", name.translate(_LETTERS))
    word = "".join(ch for ch in flat.lower() if ch.isascii() and ch.isalnum())
    return word or "user"


_LETTERS = str.maketrans({"Ł": "L", "ł": "l", "Ø": "O", "ø": "o", "ß": "ss", "ı": "i", "Ś": "S"})

GIVEN_ASCII = tuple(map(ascii_word, GIVEN))
FAMILY_ASCII = tuple(map(ascii_word, FAMILY))
