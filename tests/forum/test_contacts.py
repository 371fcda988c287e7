"""E-mail addresses and phone numbers are masked; what only looks like them stays."""

import random
import re
import time
from collections import Counter

import pytest

from worldpm.forum import contacts
from worldpm.forum.contacts import mask_contacts

MASKED = {
    "Write to jo.doe+forum@cs.uni-x.edu.": "Write to [e-mail].",
    "[me](mailto:jo@uni.edu)": "[me](mailto:[e-mail])",
    "<jo@uni.edu>, bo@uni.ac.uk": "<[e-mail]>, [e-mail]",
    "+1 212 555 0187 or +44 20 7946 0958": "[phone] or [phone]",
    "+4915112345678": "[phone]",
    "(+49 30) +49 (30) 901820-0": "(+49 30) [phone]",
    "Ring (212) 555-0187 now": "Ring [phone] now",
    "212-555-0187, 212.555.0187": "[phone], [phone]",
    "1-800-273-8255": "[phone]",
    "call 030/901820": "call [phone]",
    "Phone: 01 23 45 67 89": "Phone: [phone]",
    "text me at 741 7410 00": "text me at [phone]",
}


@pytest.mark.parametrize("text", MASKED)
def test_contacts_are_masked_and_the_rest_of_the_text_stays(text):
    """The ways in which people write addresses and numbers, and nothing around them."""
    assert mask_contacts(text) == MASKED[text]


KEPT = [
    "version 1.2.3-456, v10.15.7 and 2.0.0rc1",
    "numpy==1.26.4, torch>=2.13.0, package@1.2.3, ubuntu 22.04.3",
    "ISBN 978-0-306-40615-7 and ISBN-10 0-306-40615-2",
    "192.168.100.200, 10.0.0.1:8080, 255.255.255.0/24, fe80::1",
    "2021-03-04, 04.03.2021, 03/04/2021 12:30:45, 1999-2004",
    "3.14159265358979, 1,234,567,890 and 6.022e+23",
    "+100, +1000000 points, C++11, x+12345678901",
    "4111 1111 1111 1111 is a test card",
    "MAC 00-11-22-33-44-55, sum 123 456 7890123",
    "01 02 03 04 05 06 07 08 09 10",
    "https://x.org/q/212-555-0187/1-800-273-8255?id=+4915112345678",
    "git@github.com:user/repo.git and ssh git@gitlab.com",
    "@property, @user, user@localhost, icon@2x.png, getty@tty1.service",
    "call 5000000 functions, call 2021-03-04",
    "UTC+01:00, GMT+10 30 12, A+ 123",
    "arXiv 2505.10527, doi 10.1000/182, RFC 2616, #1234567890, $212-555-0187",
    "0.5 +1.25 +3.75, +1.5 2.5 3.5",
    "tel aviv 1948, the cell 123 in row 45",
]


@pytest.mark.parametrize("text", KEPT)
def test_what_only_looks_like_a_contact_stays(text):
    """Versions, book numbers, addresses of machines, dates, sums, paths and decorators."""
    assert mask_contacts(text) == text


def test_each_masked_contact_is_counted():
    """The counts name what was masked."""
    counts = Counter()
    mask_contacts("a@b.org c@d.org +1 212 555 0187", lambda name: counts.update([name]))
    assert counts == {"emails_masked": 2, "phones_masked": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000,
        "a@" * 100_000,
        "a.b@c." * 30_000,
        "1 " * 100_000,
        "+1 (" * 50_000,
        "call 1" * 40_000,
        "a@" + "b." * 100_000,
        "+" + "1-" * 100_000,
        "call " + "1 " * 90_000,
        ("+1" + "1" * 22 + "a ") * 8000,
    ],
)
def test_hostile_text_is_read_in_linear_time(text):
    """200 kB made to make patterns backtrack take less than two seconds."""
    start = time.process_time()
    mask_contacts(text)
    assert time.process_time() - start < 2


def test_numbers_are_found_as_by_backtracking():
    """A run of digits cut in one way finds what all ways of cutting it find."""
    plain = re.compile(
        rf"{contacts._BEFORE}\+[1-9]\d{{0,2}}(?:[ .-]?\(?\d{{1,4}}\)?){{2,6}}{contacts._AFTER}"
        rf"|{contacts._NORTH_AMERICAN}",
        re.ASCII,
    )
    chance = random.Random(1)
    found = 0
    for _ in range(3000):
        text = "+1" + "".join(chance.choices("+11223456(). -a,/", k=chance.randrange(20)))
        spans = [match.span() for match in contacts._PHONE.finditer(text)]
        assert spans == [match.span() for match in plain.finditer(text)], text
        found += len(spans)
    assert found > 100
