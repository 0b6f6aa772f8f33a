/* The nodes of a state graph as JSON. */
#include "document.h"

#include "nodes.h"

#include <string.h>

enum { REMEMBERED = 512, LONGEST_NUMBER = 24 };

/* Which shape the nodes of these very objects have. */
typedef struct {
    PyObject *key[4];
    Py_ssize_t number;
} Shape;

typedef struct {
    FlorNodes nodes;
    PyObject *id_type, *shape, *other; /* borrowed */
    char *data;
    size_t used, size;
    Shape shapes[REMEMBERED];
} Document;

static int
room_for(Document *d, size_t more)
{
    if (d->size - d->used >= more) {
        return 0;
    }
    size_t size = 2 * d->size + more + 4096;
    char *data = PyMem_Realloc(d->data, size);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    d->data = data;
    d->size = size;
    return 0;
}

static int
put(Document *d, const char *bytes, size_t count)
{
    if (room_for(d, count) < 0) {
        return -1;
    }
    memcpy(d->data + d->used, bytes, count);
    d->used += count;
    return 0;
}

static int
put_number(Document *d, long long number)
{
    char text[LONGEST_NUMBER];
    size_t at = sizeof text;
    unsigned long long rest = number < 0 ? 0ULL - (unsigned long long)number
                                         : (unsigned long long)number;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) {
        text[--at] = '-';
    }
    return put(d, text + at, sizeof text - at);
}

/* Whatever is not written here, as the caller writes it. */
static int
put_other(Document *d, PyObject *value)
{
    PyObject *text = PyObject_CallOneArg(d->other, value);
    Py_ssize_t length = 0;
    const char *bytes = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, &length);
    int status = bytes == NULL ? -1 : put(d, bytes, (size_t)length);
    Py_XDECREF(text);
    return status;
}

/* Whether JSON has the text as it is, between quotes. */
static int
is_plain(PyObject *text)
{
    if (!PyUnicode_IS_COMPACT_ASCII(text)) {
        return 0;
    }
    const unsigned char *at = PyUnicode_DATA(text), *end = at + PyUnicode_GET_LENGTH(text);
    while (at < end && *at >= ' ' && *at <= '~' && *at != '"' && *at != '\\') {
        at++;
    }
    return at == end;
}

/* As Python has it; JSON has no infinities. */
static int
put_float(Document *d, PyObject *value)
{
    double number = PyFloat_AS_DOUBLE(value);
    char *text = number - number != 0.0
        ? NULL : PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    int status = text != NULL ? put(d, text, strlen(text))
        : PyErr_Occurred() ? -1 : put_other(d, value);
    PyMem_Free(text);
    return status;
}

static int
put_child(Document *d, PyObject *child)
{
    PyTypeObject *type = Py_TYPE(child);
    int failed = put(d, ",", 1) < 0;
    if (child == Py_None) {
        failed = failed || put(d, "null", 4) < 0;
    }
    else if (type == &PyBool_Type) {
        failed = failed || (child == Py_True ? put(d, "true", 4) : put(d, "false", 5)) < 0;
    }
    else if ((PyObject *)type == d->id_type) {
        failed = failed || put(d, "[", 1) < 0 || put_number(d, PyLong_AsLongLong(child)) < 0
            || put(d, "]", 1) < 0;
    }
    else if (type == &PyUnicode_Type && is_plain(child)) {
        failed = failed || put(d, "\"", 1) < 0
            || put(d, PyUnicode_DATA(child), (size_t)PyUnicode_GET_LENGTH(child)) < 0
            || put(d, "\"", 1) < 0;
    }
    else if (type == &PyFloat_Type) {
        failed = failed || put_float(d, child) < 0;
    }
    else {
        int large = 1;
        long long number = type == &PyLong_Type ? PyLong_AsLongLongAndOverflow(child, &large) : 0;
        failed = failed || (large ? put_other(d, child) : put_number(d, number)) < 0;
    }
    return failed ? -1 : 0;
}

static size_t
hash_of(PyObject *const key[4])
{
    uintptr_t h = 0;
    for (int i = 0; i < 4; i++) {
        h = (h ^ (uintptr_t)key[i] >> 4) * (uintptr_t)UINT64_C(0x9E3779B185EBCA87);
    }
    return h >> (8 * sizeof h - 9);
}

/* The number of the node's shape; -1 with an exception. */
static Py_ssize_t
shape_of(Document *d, PyObject *node)
{
    PyObject *key[4] = {
        flor_node_field(&d->nodes, node, KIND), flor_node_field(&d->nodes, node, TYPE_NAME),
        flor_node_field(&d->nodes, node, PAYLOAD), flor_node_field(&d->nodes, node, NAMES),
    };
    Shape *known = &d->shapes[hash_of(key) % REMEMBERED];
    if (known->key[0] == NULL || memcmp(known->key, key, sizeof key) != 0) {
        PyObject *number = PyObject_CallOneArg(d->shape, node);
        known->number = number == NULL ? -1 : PyLong_AsSsize_t(number);
        Py_XDECREF(number);
        memcpy(known->key, key, sizeof key);
    }
    return known->number;
}

static int
put_node(Document *d, PyObject *node)
{
    PyObject *children = flor_node_field(&d->nodes, node, CHILDREN);
    PyObject *leaf = flor_node_field(&d->nodes, node, LEAF);
    if (children == NULL || leaf == NULL || !PyList_CheckExact(children)) {
        PyErr_SetString(PyExc_TypeError, "a node of another type is among the nodes");
        return -1;
    }
    Py_ssize_t shape = shape_of(d, node);
    long long number = shape < 0 ? -1 : PyLong_AsLongLong(leaf);
    if (PyErr_Occurred() || put(d, "[", 1) < 0 || put_number(d, shape) < 0 || put(d, ",", 1) < 0
        || put_number(d, number) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(children); i++) {
        PyObject *child = Py_NewRef(PyList_GET_ITEM(children, i));
        int status = put_child(d, child);
        Py_DECREF(child);
        if (status < 0) {
            return -1;
        }
    }
    return put(d, "]", 1);
}

static PyObject *
encode_nodes(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *nodes, *type, *id_type, *shape, *other, *result = NULL;
    if (!PyArg_ParseTuple(args, "O!O!O!OO:encode_nodes", &PyList_Type, &nodes, &PyType_Type, &type,
                          &PyType_Type, &id_type, &shape, &other)) {
        return NULL;
    }
    Document *d = PyMem_Calloc(1, sizeof *d);
    /* A copy: what is called back might let go of the nodes, and addresses stand for them here. */
    PyObject *copy = d == NULL ? PyErr_NoMemory() : PyList_GetSlice(nodes, 0, PY_SSIZE_T_MAX);
    int status = copy == NULL ? -1 : flor_find_fields(&d->nodes, type);
    if (status == 0) {
        d->id_type = id_type;
        d->shape = shape;
        d->other = other;
        status = put(d, "[", 1);
    }
    for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(copy); i++) {
        status = i > 0 ? put(d, ",", 1) : 0;
        status = status < 0 ? -1 : put_node(d, PyList_GET_ITEM(copy, i));
    }
    if (status == 0 && put(d, "]", 1) == 0) {
        result = PyBytes_FromStringAndSize(d->data, (Py_ssize_t)d->used);
    }
    Py_XDECREF(copy);
    if (d != NULL) {
        PyMem_Free(d->data);
    }
    PyMem_Free(d);
    return result;
}

static PyMethodDef functions[] = {
    {"encode_nodes", encode_nodes, METH_VARARGS,
     PyDoc_STR("encode_nodes($module, nodes, node_type, id_type, shape, other, /)\n--\n\n"
               "The nodes as JSON: number of the shape, leaf, children.")},
    {NULL, NULL, 0, NULL},
};

int
flor_add_document(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
