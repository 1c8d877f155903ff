"""The loops over a batch of entries: the compiled twin of ``_pure/ledger.py``, which explains the rules.

It decides nothing that the twin does not say, and must never keep a reference to what it is given.
"""

from cpython.dict cimport PyDict_Contains, PyDict_DelItem, PyDict_SetItem
from cpython.list cimport PyList_Append

from chasquimq._fast.entries cimport Entry


def take_in(list entries not None, dict held not None, ready not None, double lease_until, long long max_attempts):
    """Enters the entries into ``held``, puts those that may run into ``ready``; returns how many, and the others."""
    cdef Entry entry
    cdef list refused = []
    cdef Py_ssize_t admitted = 0
    cdef long long prior
    cdef long long limit
    cdef object append = ready.append
    for entry in entries:
        if PyDict_Contains(held, entry.entry_id):
            continue
        entry.lease_until = lease_until
        PyDict_SetItem(held, entry.entry_id, entry)
        prior = <long long>entry.deliveries - 1
        if <long long>entry.attempt > prior:
            prior = <long long>entry.attempt
        limit = max_attempts if entry.max_attempts is None else <long long>entry.max_attempts
        if entry.fault is None and prior < limit:
            append(entry)
            admitted += 1
        else:
            PyList_Append(refused, entry)
    return admitted, refused


def sort_ends(list ended not None, double certain_after):
    """Ended entries by the way they are acknowledged: lease certain, lease doubtful, and both with a result to store."""
    cdef Entry entry
    cdef list certain = []
    cdef list doubtful = []
    cdef list certain_with_result = []
    cdef list doubtful_with_result = []
    for entry in ended:
        if entry.lease_until > certain_after and not entry.lost:
            PyList_Append(certain if entry.result is None else certain_with_result, entry)
        else:
            PyList_Append(doubtful if entry.result is None else doubtful_with_result, entry)
    return certain, doubtful, certain_with_result, doubtful_with_result


def strike(dict held not None, list entries not None, list states not None):
    """Takes settled entries out of ``held``; returns those whose state is not 1 (done), with their state."""
    cdef Entry entry
    cdef list odd = []
    cdef Py_ssize_t position
    if len(entries) != len(states):
        raise ValueError(f"{len(states)} states for {len(entries)} entries")
    for position in range(len(entries)):
        entry = entries[position]
        if PyDict_Contains(held, entry.entry_id):
            PyDict_DelItem(held, entry.entry_id)
        if states[position] != 1:
            PyList_Append(odd, (entry, states[position]))
    return odd
