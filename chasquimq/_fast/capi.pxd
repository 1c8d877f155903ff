# Pieces of Python's C interface for the walks over containers.

from cpython.object cimport PyObject

# Borrowed and new references as plain pointers: the walks below must not raise, and they stop without an exception.
cdef extern from "Python.h":
    PyObject* Py_None
    PyObject* Py_True
    PyObject* Py_False
    const char* utf8_of "PyUnicode_AsUTF8AndSize"(PyObject* text, Py_ssize_t* size)
    PyObject* list_item "PyList_GET_ITEM"(PyObject* items, Py_ssize_t index)
    PyObject* tuple_item "PyTuple_GET_ITEM"(PyObject* items, Py_ssize_t index)
    PyObject* new_list "PyList_New"(Py_ssize_t size)
    PyObject* new_dict "PyDict_New"()
    PyObject* new_text "PyUnicode_DecodeUTF8"(const char* data, Py_ssize_t size, const char* errors)
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char* data, Py_ssize_t size)
    PyObject* new_signed "PyLong_FromLongLong"(long long value)
    PyObject* new_unsigned "PyLong_FromUnsignedLongLong"(unsigned long long value)
    PyObject* new_float "PyFloat_FromDouble"(double value)
    void set_list_item "PyList_SET_ITEM"(PyObject* items, Py_ssize_t index, PyObject* stolen)
    int set_dict_item "PyDict_SetItem"(PyObject* mapping, PyObject* key, PyObject* value)
    void incref "Py_INCREF"(PyObject* value)
    void decref "Py_DECREF"(PyObject* value)
