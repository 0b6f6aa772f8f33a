/* What a root's digest is made of, as marshal would write the list of it.

   Only what is usual is written here; for the rest the caller's Python says what belongs there. */
#include "describer.h"

#include <marshal.h>
#include <string.h>

/* ---- writing */

static unsigned char *
extend(FlorDescriber *d, size_t more)
{
    if (d->size - d->used < more) {
        size_t size = 2 * d->size + more + 4096;
        unsigned char *data = PyMem_Realloc(d->data, size);
        if (data == NULL) {
            return (unsigned char *)PyErr_NoMemory();
        }
        d->data = data;
        d->size = size;
    }
    d->used += more;
    return d->data + d->used - more;
}

void
flor_marshal_long(unsigned char *at, Py_ssize_t value)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)((uint32_t)value >> 8 * i);
    }
}

int
flor_marshal_tagged(FlorDescriber *d, char tag, Py_ssize_t number, const void *bytes, size_t count)
{
    unsigned char *at = extend(d, 5 + count);
    if (at == NULL) {
        return -1;
    }
    at[0] = (unsigned char)tag;
    flor_marshal_long(at + 1, number);
    if (count > 0) {
        memcpy(at + 5, bytes, count);
    }
    return 0;
}

static int
put_bytes(FlorDescriber *d, PyObject *bytes)
{
    unsigned char *at = extend(d, (size_t)PyBytes_GET_SIZE(bytes));
    if (at == NULL) {
        return -1;
    }
    memcpy(at, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    return 0;
}

static int
put_by_marshal(FlorDescriber *d, PyObject *value)
{
    PyObject *bytes = PyMarshal_WriteObjectToString(value, PLAIN_MARSHAL);
    int status = bytes == NULL ? -1 : put_bytes(d, bytes);
    Py_XDECREF(bytes);
    return status;
}

/* Any value, as an item of the list. */
int
flor_marshal_value(FlorDescriber *d, PyObject *value)
{
    int overflow = 1;
    long number = 0;
    d->items++;
    if (value == Py_None || value == Py_True || value == Py_False) {
        unsigned char *at = extend(d, 1);
        if (at != NULL) {
            *at = value == Py_None ? 'N' : value == Py_True ? 'T' : 'F';
        }
        return at == NULL ? -1 : 0;
    }
    if (PyUnicode_CheckExact(value) && PyUnicode_IS_COMPACT_ASCII(value)) {
        Py_ssize_t length = PyUnicode_GET_LENGTH(value);
        return length > INT32_MAX
            ? put_by_marshal(d, value)
            : flor_marshal_tagged(d, 'u', length, PyUnicode_DATA(value), (size_t)length);
    }
    if (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) < INT32_MAX) {
        Py_ssize_t length = PyBytes_GET_SIZE(value);
        return flor_marshal_tagged(d, 's', length, PyBytes_AS_STRING(value), (size_t)length);
    }
    if (PyLong_CheckExact(value)) {
        number = PyLong_AsLongAndOverflow(value, &overflow);
        if (!overflow && number >= INT32_MIN && number <= INT32_MAX) {
            return flor_marshal_tagged(d, 'i', (Py_ssize_t)number, NULL, 0);
        }
    }
    return put_by_marshal(d, value);
}

/* What many nodes share: written once, found again by its address, which the nodes keep. */
static FlorWritten *
put_shared(FlorDescriber *d, PyObject *value)
{
    size_t slot = ((uintptr_t)value >> 4) * UINT64_C(0x9E3779B185EBCA87) >> 56;
    FlorWritten *known = &d->written[slot % FLOR_WRITTEN];
    if (known->object != value) {
        PyObject *bytes = PyMarshal_WriteObjectToString(value, PLAIN_MARSHAL);
        if (bytes == NULL) {
            return NULL;
        }
        Py_XSETREF(known->bytes, bytes);
        known->object = value;
        known->ignored = 0;
        for (Py_ssize_t i = 0; PyTuple_CheckExact(value) && i < PyTuple_GET_SIZE(value); i++) {
            PyObject *name = PyTuple_GET_ITEM(value, i);
            known->ignored |= PyUnicode_CheckExact(name)
                && PySet_Contains(d->parts[IGNORE], name) == 1;
        }
    }
    d->items++;
    return put_bytes(d, known->bytes) < 0 ? NULL : known;
}

/* ---- nodes */

/* What stands for a node: 0, or -1 with an exception. */
static int
put_token(FlorDescriber *d, PyObject *ref, PyObject *at, Py_ssize_t n)
{
    PyObject *token = Py_XNewRef(PyDict_GetItemWithError(d->tokens, ref));
    if (token == NULL && !PyErr_Occurred()) {
        PyObject *node = PyList_GetItem(d->parts[NODE_LIST], PyLong_AsSsize_t(ref));
        PyObject *kind = node == NULL ? NULL : flor_node_field(&d->nodes, node, KIND);
        int rare = kind == NULL ? -1 : PySet_Contains(d->parts[BY_VALUE], kind);
        rare = rare == 0 ? PyDict_Contains(d->parts[MET], ref) : rare;
        PyObject *where = rare < 0 ? NULL : Py_BuildValue("On", at, n);
        if (where != NULL && rare) {
            token = PyObject_CallFunctionObjArgs(d->parts[TOKEN], ref, where, NULL);
        }
        else if (where != NULL) {
            token = Py_BuildValue("(n)", PyList_GET_SIZE(d->order));
            if (token != NULL
                && (PyDict_SetItem(d->parts[MET], ref, where) < 0
                    || PyDict_SetItem(d->tokens, ref, token) < 0
                    || PyList_Append(d->order, ref) < 0)) {
                Py_CLEAR(token);
            }
        }
        Py_XDECREF(where);
    }
    int status = token == NULL ? -1 : 0;
    if (status == 0 && PyTuple_GET_SIZE(token) == 1
        && PyLong_CheckExact(PyTuple_GET_ITEM(token, 0))) {
        status = flor_marshal_tagged(d, '(', 1, NULL, 0);
        status = status < 0 ? -1 : flor_marshal_value(d, PyTuple_GET_ITEM(token, 0));
    }
    else if (status == 0) {
        status = put_by_marshal(d, token);
        d->items++;
    }
    Py_XDECREF(token);
    return status;
}

static int
put_leaf(FlorDescriber *d, PyObject *at, PyObject *leaf)
{
    Py_ssize_t number = PyLong_AsSsize_t(leaf);
    if (number < 0) {
        return PyErr_Occurred() ? -1 : flor_marshal_value(d, Py_None);
    }
    PyObject *owner = PyDict_SetDefault(d->parts[OWNERS], leaf, at); /* borrowed */
    if (owner == NULL) {
        return -1;
    }
    if (owner == at) {
        PyObject *digest = PySequence_GetItem(d->parts[DIGESTS], number);
        int status = digest == NULL ? -1 : flor_marshal_value(d, digest);
        Py_XDECREF(digest);
        return status;
    }
    PyObject *token = PyObject_CallFunctionObjArgs(d->parts[LEAF_TOKEN], at, leaf, NULL);
    int status = token == NULL ? -1 : flor_marshal_value(d, token);
    Py_XDECREF(token);
    return status;
}

/* Whether names of the node, or keys of the dict, are to be ignored; -1 with an exception. */
static int
is_touched(const FlorDescriber *d, PyObject *kind, PyObject *children)
{
    int paired = PySet_Contains(d->parts[PAIRED], kind);
    for (Py_ssize_t i = 0; paired == 1 && i < PyList_GET_SIZE(children); i += 2) {
        PyObject *key = PyList_GET_ITEM(children, i);
        int found = PyUnicode_CheckExact(key) ? PySet_Contains(d->parts[IGNORE], key) : 0;
        if (found != 0) {
            return found;
        }
    }
    return paired < 0 ? -1 : 0;
}

/* By Python, from where the node began. */
static int
describe_in_python(FlorDescriber *d, PyObject *at, PyObject *node, size_t used, Py_ssize_t items)
{
    PyObject *out = PyList_New(0);
    PyObject *done = out == NULL ? NULL
        : PyObject_CallFunctionObjArgs(d->parts[DESCRIBE], at, node, out, NULL);
    int status = done == NULL ? -1 : 0;
    d->used = used;
    d->items = items;
    for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(out); i++) {
        status = flor_marshal_value(d, PyList_GET_ITEM(out, i));
    }
    Py_XDECREF(done);
    Py_XDECREF(out);
    return status;
}

static int
put_children(FlorDescriber *d, PyObject *at, PyObject *children)
{
    PyObject *count = PyLong_FromSsize_t(PyList_GET_SIZE(children));
    int status = count == NULL ? -1 : flor_marshal_value(d, count);
    Py_XDECREF(count);
    for (Py_ssize_t n = 0; status == 0 && n < PyList_GET_SIZE(children); n++) {
        PyObject *child = PyList_GET_ITEM(children, n);
        status = Py_IS_TYPE(child, (PyTypeObject *)d->parts[ID_TYPE])
            ? put_token(d, child, at, n) : flor_marshal_value(d, child);
    }
    return status;
}

int
flor_describe(FlorDescriber *d, PyObject *at, PyObject *node, PyObject *vague)
{
    PyObject *kind = flor_node_field(&d->nodes, node, KIND), *names, *children, *as;
    if (kind == NULL) {
        PyErr_SetString(PyExc_TypeError, "a node of another type is among the nodes");
        return -1;
    }
    names = flor_node_field(&d->nodes, node, NAMES);
    children = flor_node_field(&d->nodes, node, CHILDREN);
    size_t used = d->used;
    Py_ssize_t items = d->items;
    int ignoring = PySet_GET_SIZE(d->parts[IGNORE]) > 0;
    int touched = ignoring ? PySet_Contains(vague, at) : 0;
    touched = ignoring && touched == 0 ? is_touched(d, kind, children) : touched;
    if (touched != 0) {
        return touched < 0 ? -1 : describe_in_python(d, at, node, used, items);
    }
    as = PyDict_GetItemWithError(d->parts[COUNTS_AS], kind);
    if ((as == NULL && PyErr_Occurred()) || flor_marshal_value(d, as == NULL ? kind : as) < 0
        || flor_marshal_value(d, flor_node_field(&d->nodes, node, TYPE_NAME)) < 0
        || put_shared(d, flor_node_field(&d->nodes, node, PAYLOAD)) == NULL) {
        return -1;
    }
    FlorWritten *known = put_shared(d, names);
    if (known == NULL || known->ignored) {
        return known == NULL ? -1 : describe_in_python(d, at, node, used, items);
    }
    return put_leaf(d, at, flor_node_field(&d->nodes, node, LEAF)) < 0
        ? -1 : put_children(d, at, children);
}
