"""Names that nobody else has."""

from uuid import RFC_4122, UUID

from chasquimq._net.unique_name import unique_name


def test_a_name_is_a_random_uuid():
    for _ in range(1_000):
        name = unique_name()
        read = UUID(name)
        assert str(read) == name
        assert (read.version, read.variant) == (4, RFC_4122)


def test_no_name_comes_twice_and_every_random_bit_is_used():
    numbers = [UUID(unique_name()).int for _ in range(1_000)]
    assert len(set(numbers)) == 1_000
    ones = sum(1 << bit for bit in range(128) if any(number >> bit & 1 for number in numbers))
    zeros = sum(1 << bit for bit in range(128) if not all(number >> bit & 1 for number in numbers))
    assert (ones & zeros).bit_count() == 122
