/* Writes a tree of plain containers as bytes, in the format of packing.py. */
#include "packing.h"

enum { DEEPEST = FLOR_DEEPEST, TUPLES = 8, ARRAY_FROM = 8 };

static int write_value(FlorWriter *w, PyObject *value);

/* -- sequences --------------------------------------------------------------------------------- */

/* The items, one by one or as an array; `tag` is 'l' or 't'. */
static int
write_items(FlorWriter *w, char tag, PyObject *const *items, Py_ssize_t length)
{
    char code = length >= ARRAY_FROM ? flor_array_code(items, length) : 0;
    w->objects += length;
    if (code != 0) {
        if (flor_room_for(w, 12 + 8 * (size_t)length) < 0) {
            return -1;
        }
        w->data[w->used++] = tag == 'l' ? 'L' : 'U';
        w->data[w->used++] = (unsigned char)code;
        flor_put_number(w, (size_t)length);
        flor_fill_array(w->data + w->used, code, items, length);
        w->used += 8 * (size_t)length;
        return 0;
    }
    int result = flor_put_tagged(w, tag, (size_t)length);
    FlorStep *step = &w->steps[w->depth++];
    step->key = NULL;
    for (Py_ssize_t i = 0; result == 0 && i < length; i++) {
        step->index = i;
        result = write_value(w, items[i]);
    }
    w->depth--;
    return result;
}

/* A tuple is written whole or not at all: nothing can be put into it afterwards. */
static int
write_tuple(FlorWriter *w, PyObject *tuple)
{
    if (w->tuples >= TUPLES) {
        return IN_TUPLE;
    }
    size_t used = w->used;
    Py_ssize_t parts = w->parts;
    w->tuples++;
    int result = write_items(w, 't', ((PyTupleObject *)tuple)->ob_item, PyTuple_GET_SIZE(tuple));
    w->tuples--;
    if (result == IN_TUPLE && w->tuples == 0) {
        w->used = used;
        while (w->parts > parts) {
            Py_DECREF(w->met[--w->parts]);
        }
        return flor_escape(w, tuple);
    }
    return result;
}

/* -- dicts ------------------------------------------------------------------------------------- */

/* Whether a string is a key whose value counts by its type only, or one that may move. */
static int
is_special_key(FlorWriter *w, PyObject *key)
{
    PyObject **fine = &w->fine[((uintptr_t)key >> 4) & 63];
    if (*fine == key) {
        return 0;
    }
    int special = flor_moves(w, key);
    if (special == 0) {
        special = PySet_Contains(w->packer->ignored, key);
    }
    if (special == 0) {
        *fine = key;
    }
    return special;
}

static int
write_key(FlorWriter *w, PyObject *key)
{
    if (Py_IS_TYPE(key, &PyUnicode_Type)) {
        int special = is_special_key(w, key);
        return special == 0 ? flor_write_text(w, key) : special < 0 ? -1 : GIVE_UP;
    }
    w->tuples++; /* so that what cannot be written is told, and not set aside */
    int result = write_value(w, key);
    w->tuples--;
    return result == IN_TUPLE ? GIVE_UP : result;
}

static int
write_dict(FlorWriter *w, PyObject *dict)
{
    Py_ssize_t at = 0;
    PyObject *key, *value;
    int result = flor_put_tagged(w, 'd', (size_t)PyDict_GET_SIZE(dict));
    w->objects += PyDict_GET_SIZE(dict);
    FlorStep *step = &w->steps[w->depth++];
    while (result == 0 && PyDict_Next(dict, &at, &key, &value)) {
        step->key = key;
        result = write_key(w, key);
        if (result == 0) {
            result = write_value(w, value);
        }
    }
    w->depth--;
    return result;
}

/* -- containers -------------------------------------------------------------------------------- */

/* Whether another part of the walk has met the object; -1 with an exception. */
int
flor_is_known(FlorPacker *packer, PyObject *object)
{
    if (flor_table_get(&packer->parts, object) >= 0) {
        return 1;
    }
    PyObject *key = PyLong_FromVoidPtr(object);
    int known = key == NULL ? -1 : PyDict_Contains(packer->ids, key);
    Py_XDECREF(key);
    return known;
}

static int
meet(FlorWriter *w, PyObject *container)
{
    if (w->parts == w->room) {
        Py_ssize_t room = w->room ? 2 * w->room : 64;
        PyObject **met = PyMem_Realloc(w->met, (size_t)room * sizeof(PyObject *));
        if (met == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        w->met = met;
        w->room = room;
    }
    if (flor_table_set(&w->local, container, w->parts) < 0) {
        return -1;
    }
    w->met[w->parts++] = Py_NewRef(container);
    return 0;
}

static int
write_container(FlorWriter *w, PyObject *container)
{
    if (w->depth >= DEEPEST) {
        return flor_escape(w, container);
    }
    long long number = flor_table_get(&w->local, container);
    if (number >= 0 && number < w->parts && w->met[number] == container) {
        return flor_put_tagged(w, 'r', (unsigned long long)number);
    }
    int known = flor_is_known(w->packer, container);
    if (known != 0) {
        return known < 0 ? -1 : flor_escape(w, container);
    }
    if (meet(w, container) < 0) {
        return -1;
    }
    if (Py_IS_TYPE(container, &PyDict_Type)) {
        return write_dict(w, container);
    }
    return write_items(w, 'l', ((PyListObject *)container)->ob_item, PyList_GET_SIZE(container));
}

static int
write_value(FlorWriter *w, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyList_Type || type == &PyDict_Type) {
        return write_container(w, value);
    }
    if (type == &PyTuple_Type) {
        return w->depth >= DEEPEST ? flor_escape(w, value) : write_tuple(w, value);
    }
    return flor_write_scalar(w, value);
}
int
flor_write_root(FlorWriter *w, PyObject *root)
{
    if (Py_IS_TYPE(root, &PyDict_Type)) {
        return write_dict(w, root);
    }
    if (Py_IS_TYPE(root, &PyList_Type)) {
        return write_items(w, 'l', ((PyListObject *)root)->ob_item, PyList_GET_SIZE(root));
    }
    int result = write_tuple(w, root);
    return result == 0 && w->parts + w->escaped > 0 ? GIVE_UP : result;
}
