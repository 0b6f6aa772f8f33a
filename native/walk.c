/* References to objects, and the nodes of plain containers and instances. */
#include "walk.h"

/* A container of fewer, none of which is a container that could be packed, is not packed. */
enum { FEW = 16 };

/* ---- references */

static int
may_move(const FlorWalker *self, PyObject *text)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->prefixes); i++) {
        PyObject *prefix = PyTuple_GET_ITEM(self->prefixes, i);
        Py_ssize_t length = PyUnicode_GET_LENGTH(prefix);
        if (PyUnicode_GET_LENGTH(text) >= length
            && (length == 0 || PyUnicode_READ_CHAR(text, 0) == PyUnicode_READ_CHAR(prefix, 0))) {
            Py_ssize_t found = PyUnicode_Tailmatch(text, prefix, 0, PY_SSIZE_T_MAX, -1);
            if (found != 0) {
                return (int)found;
            }
        }
    }
    return 0;
}

static double
plain_nan(double number)
{
    return number == number ? number : Py_NAN;
}

/* 1 for an atom, which goes to `found`; 0 for other objects; -1 with an exception. */
static int
find_atom(const FlorWalker *self, PyObject *obj, PyObject **found)
{
    PyTypeObject *type = Py_TYPE(obj);
    *found = NULL;
    if (obj == Py_None || type == &PyLong_Type || type == &PyBool_Type || obj == Py_Ellipsis) {
        *found = Py_NewRef(obj);
    }
    else if (type == &PyUnicode_Type) {
        int moves = PyUnicode_GET_LENGTH(obj) <= self->most ? may_move(self, obj) : 1;
        if (moves != 0) {
            return moves < 0 ? -1 : 0;
        }
        *found = Py_NewRef(obj);
    }
    else if (type == &PyFloat_Type) {
        double number = PyFloat_AS_DOUBLE(obj);
        *found = Py_NewRef(number == number ? obj : self->nan);
    }
    else if (type == &PyBytes_Type && PyBytes_GET_SIZE(obj) <= self->most) {
        *found = Py_NewRef(obj);
    }
    else if (type == &PyComplex_Type) {
        Py_complex number = PyComplex_AsCComplex(obj);
        if (number.real == number.real && number.imag == number.imag) {
            *found = Py_NewRef(obj);
            return 1;
        }
        *found = PyComplex_FromDoubles(plain_nan(number.real), plain_nan(number.imag));
    }
    else {
        return 0;
    }
    return *found == NULL ? -1 : 1;
}

int
flor_walk_reserve(FlorWalker *self, Py_ssize_t count)
{
    Py_ssize_t needed = PyList_GET_SIZE(self->objects) + count;
    if (needed <= PyList_GET_SIZE(self->parts[POOL])) {
        return 0;
    }
    PyObject *number = PyLong_FromSsize_t(needed);
    PyObject *done = number == NULL ? NULL : PyObject_CallOneArg(self->parts[MORE_IDS], number);
    Py_XDECREF(number);
    Py_XDECREF(done);
    if (done != NULL && needed > PyList_GET_SIZE(self->parts[POOL])) {
        PyErr_SetString(PyExc_RuntimeError, "there are not enough ids of nodes");
        return -1;
    }
    return done == NULL ? -1 : 0;
}

static PyObject *
meet(FlorWalker *self, PyObject *key, PyObject *obj)
{
    if (flor_walk_reserve(self, 1) < 0) {
        return NULL;
    }
    PyObject *id = PyList_GET_ITEM(self->parts[POOL], PyList_GET_SIZE(self->objects));
    if (PyDict_SetItem(self->ids, key, id) < 0 || PyList_Append(self->objects, obj) < 0) {
        return NULL;
    }
    return Py_NewRef(id);
}

PyObject *
flor_walk_ref(FlorWalker *self, PyObject *obj)
{
    PyObject *found;
    if (find_atom(self, obj, &found) != 0) {
        return found;
    }
    PyObject *key = PyLong_FromVoidPtr(obj);
    if (key == NULL) {
        return NULL;
    }
    found = Py_XNewRef(PyDict_GetItemWithError(self->ids, key));
    if (found == NULL && !PyErr_Occurred()) {
        found = meet(self, key, obj);
    }
    Py_DECREF(key);
    return found;
}

/* ---- nodes */

static PyObject *
node(FlorWalker *self, FlorWay way, PyObject *type_name, PyObject *children, PyObject *names)
{
    PyObject *fields[FIELDS] = {
        [KIND] = Py_NewRef(self->kinds[way]),
        [TYPE_NAME] = Py_NewRef(type_name),
        [PAYLOAD] = Py_NewRef(Py_None),
        [CHILDREN] = children,
        [NAMES] = Py_NewRef(names),
        [LEAF] = Py_NewRef(self->no_leaf),
    };
    return flor_make_node(&self->nodes, fields);
}

/* Whether something may be packed together with what holds it. */
static int
is_packable(PyObject *obj)
{
    return PyList_CheckExact(obj) || PyDict_CheckExact(obj) || PyTuple_CheckExact(obj);
}

/* Whether the object is part of a container that was packed; -1 with an exception. */
static int
is_part(const FlorWalker *self, PyObject *walk, PyObject *obj)
{
    if (PyList_GET_SIZE(self->owners) == 0) {
        return 0;
    }
    PyObject *found = PyObject_CallMethodOneArg(walk, self->part, obj);
    int known = found == NULL ? -1 : found != Py_None;
    Py_XDECREF(found);
    return known;
}

/* What may run Python, before anything is read: 1 to go on, 0 not to, -1 with an exception. */
static int
prepare(FlorWalker *self, PyObject *walk, PyObject *obj, Py_ssize_t most)
{
    int part = is_part(self, walk, obj);
    if (part != 0) {
        return part < 0 ? -1 : 0;
    }
    return flor_walk_reserve(self, most) < 0 ? -1 : 1;
}

/* Put a reference at its place; 0, or -1. */
static int
set_ref(FlorWalker *self, PyObject *children, Py_ssize_t at, PyObject *obj)
{
    PyObject *ref = flor_walk_ref(self, obj);
    PyList_SET_ITEM(children, at, ref);
    return ref == NULL ? -1 : 0;
}

static PyObject *
node_of_sequence(FlorWalker *self, PyObject *obj, FlorWay way, PyObject *type_name)
{
    Py_ssize_t count = Py_SIZE(obj);
    PyObject **items = PySequence_Fast_ITEMS(obj);
    int plain = count <= FEW;
    for (Py_ssize_t i = 0; plain && i < count; i++) {
        plain = !is_packable(items[i]);
    }
    PyObject *children = plain ? PyList_New(count) : NULL;
    for (Py_ssize_t i = 0; children != NULL && i < count; i++) {
        if (set_ref(self, children, i, items[i]) < 0) {
            Py_CLEAR(children);
        }
    }
    return children == NULL ? NULL : node(self, way, type_name, children, self->no_names);
}

static int
holds_packable(PyObject *dict)
{
    PyObject *key, *value;
    for (Py_ssize_t at = 0; PyDict_Next(dict, &at, &key, &value);) {
        if (is_packable(value) || is_packable(key)) {
            return 1;
        }
    }
    return 0;
}

static PyObject *
node_of_dict(FlorWalker *self, PyObject *dict, PyObject *type_name)
{
    Py_ssize_t count = PyDict_GET_SIZE(dict), i = 0;
    if (count > FEW || holds_packable(dict)) {
        return NULL;
    }
    PyObject *children = PyList_New(2 * count), *key, *value;
    for (Py_ssize_t at = 0; children != NULL && PyDict_Next(dict, &at, &key, &value); i += 2) {
        if (set_ref(self, children, i, key) < 0 || set_ref(self, children, i + 1, value) < 0) {
            Py_CLEAR(children);
        }
    }
    return children == NULL ? NULL : node(self, DICT, type_name, children, self->no_names);
}

static int
note_referent(PyObject *Py_UNUSED(obj), void *arg)
{
    *(int *)arg = 1;
    return 0;
}

/* What stands for an empty dict; NULL when it holds something beside its items. */
static PyObject *
node_of_empty(const FlorWalker *self, PyObject *dict)
{
    int holds = 0;
    Py_TYPE(dict)->tp_traverse(dict, note_referent, &holds);
    PyObject *known = holds ? NULL
        : PyDict_GetItemWithError(self->parts[EMPTY], (PyObject *)Py_TYPE(dict));
    return Py_XNewRef(known);
}

/* Whether the keys are these very strings, in this order. */
static int
has_names(PyObject *space, PyObject *names)
{
    PyObject *key, *value;
    Py_ssize_t i = 0;
    if (PyDict_GET_SIZE(space) != PyTuple_GET_SIZE(names)) {
        return 0;
    }
    for (Py_ssize_t at = 0; PyDict_Next(space, &at, &key, &value); i++) {
        if (key != PyTuple_GET_ITEM(names, i)) {
            return 0;
        }
    }
    return 1;
}

/* By the names of an earlier instance of the class, if it had the same. */
static PyObject *
node_of_instance(FlorWalker *self, PyObject *obj, PyObject *type_name, PyObject *names)
{
    PyObject *space = PyTuple_CheckExact(names) ? PyObject_GenericGetDict(obj, NULL) : NULL;
    if (space == NULL) {
        PyErr_Clear();
        return NULL;
    }
    PyObject *children = NULL, *key, *value;
    if (PyDict_CheckExact(space) && flor_walk_reserve(self, PyDict_GET_SIZE(space)) == 0
        && has_names(space, names)) {
        Py_ssize_t i = 0;
        children = PyList_New(PyTuple_GET_SIZE(names));
        for (Py_ssize_t at = 0; children != NULL && PyDict_Next(space, &at, &key, &value); i++) {
            if (set_ref(self, children, i, value) < 0) {
                Py_CLEAR(children);
            }
        }
    }
    Py_DECREF(space);
    return children == NULL ? NULL : node(self, INSTANCE, type_name, children, names);
}

PyObject *
flor_walk_node(
    FlorWalker *self, PyObject *walk, PyObject *obj, FlorWay way, PyObject *type_name,
    PyObject *names)
{
    if (way == INSTANCE) {
        return node_of_instance(self, obj, type_name, names);
    }
    if ((way == DICT || way == EMPTY_ONLY) && PyDict_GET_SIZE(obj) == 0) {
        return node_of_empty(self, obj);
    }
    if (way == EMPTY_SET) {
        return PySet_GET_SIZE(obj) > 0 ? NULL
                                       : node(self, way, type_name, PyList_New(0), self->no_names);
    }
    if (way == EMPTY_ONLY || prepare(self, walk, obj, 2 * FEW) != 1) {
        return NULL;
    }
    return way == DICT ? node_of_dict(self, obj, type_name)
                       : node_of_sequence(self, obj, way, type_name);
}
