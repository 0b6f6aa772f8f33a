/* Writes scalars, and arrays of numbers, in the format of packing.py. */
#include "packing.h"

/* So many other things are let pass before their share counts. */
enum { MANY = 16 };

/* -- bytes ------------------------------------------------------------------------------------- */

int
flor_room_for(FlorWriter *w, size_t more)
{
    if (w->used + more <= w->size) {
        return 0;
    }
    size_t size = w->size + w->size / 2 + more + 256;
    unsigned char *data = PyMem_Realloc(w->data, size);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    w->data = data;
    w->size = size;
    return 0;
}

void
flor_put_number(FlorWriter *w, unsigned long long number)
{
    while (number >= 0x80) {
        w->data[w->used++] = (unsigned char)(number | 0x80);
        number >>= 7;
    }
    w->data[w->used++] = (unsigned char)number;
}

int
flor_put_tagged(FlorWriter *w, char tag, unsigned long long number)
{
    if (flor_room_for(w, 11) < 0) {
        return -1;
    }
    w->data[w->used++] = (unsigned char)tag;
    flor_put_number(w, number);
    return 0;
}

static int
put_sized(FlorWriter *w, char tag, const void *bytes, Py_ssize_t length)
{
    if (flor_room_for(w, (size_t)length + 11) < 0 || flor_put_tagged(w, tag, (size_t)length) < 0) {
        return -1;
    }
    memcpy(w->data + w->used, bytes, (size_t)length);
    w->used += (size_t)length;
    return 0;
}

static void
put_eight(FlorWriter *w, uint64_t bits)
{
    for (int i = 0; i < 8; i++) {
        w->data[w->used++] = (unsigned char)(bits >> 8 * i);
    }
}

static uint64_t
bits_of(double number)
{
    uint64_t bits = UINT64_C(0x7ff8000000000000); /* every NaN is this one */
    if (number == number) {
        memcpy(&bits, &number, sizeof bits);
    }
    return bits;
}

/* -- what is not written here ------------------------------------------------------------------ */

static PyObject *
path_of(const FlorWriter *w)
{
    PyObject *path = PyTuple_New(w->depth);
    for (int i = 0; path != NULL && i < w->depth; i++) {
        const FlorStep *step = &w->steps[i];
        PyObject *item = step->key ? Py_NewRef(step->key) : PyLong_FromSsize_t(step->index);
        if (item == NULL) {
            Py_CLEAR(path);
        }
        else {
            PyTuple_SET_ITEM(path, i, item);
        }
    }
    return path;
}

int
flor_escape(FlorWriter *w, PyObject *value)
{
    if (w->tuples > 0) {
        return IN_TUPLE;
    }
    if (w->escaped >= MANY && w->objects < MANY * w->escaped) {
        return GIVE_UP;
    }
    PyObject *path = path_of(w);
    if (path == NULL || PyList_Append(w->escapes, value) < 0 || PyList_Append(w->paths, path) < 0) {
        Py_XDECREF(path);
        return -1;
    }
    Py_DECREF(path);
    return flor_put_tagged(w, 'e', (unsigned long long)w->escaped++);
}

/* -- scalars ----------------------------------------------------------------------------------- */

/* Whether the text begins with a path that may move, and so is saved in another way. */
int
flor_moves(const FlorWriter *w, PyObject *text)
{
    PyObject *prefixes = w->packer->prefixes;
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(prefixes); i++) {
        PyObject *prefix = PyTuple_GET_ITEM(prefixes, i);
        if (PyUnicode_GET_LENGTH(prefix) <= length && length > 0
            && PyUnicode_READ_CHAR(prefix, 0) == PyUnicode_READ_CHAR(text, 0)) {
            Py_ssize_t found = PyUnicode_Tailmatch(text, prefix, 0, PY_SSIZE_T_MAX, -1);
            if (found != 0) {
                return found > 0 ? 1 : -1;
            }
        }
    }
    return 0;
}

int
flor_write_text(FlorWriter *w, PyObject *text)
{
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        return put_sized(w, 's', PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    }
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (bytes == NULL) {
        return -1;
    }
    int result = put_sized(w, 's', PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return result;
}

static int
write_whole(FlorWriter *w, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        return flor_escape(w, value);
    }
    unsigned long long zigzag = ((unsigned long long)number << 1) ^ (number < 0 ? ~0ULL : 0ULL);
    return flor_put_tagged(w, 'i', zigzag);
}

int
flor_write_scalar(FlorWriter *w, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyFloat_Type) {
        if (flor_room_for(w, 9) < 0) {
            return -1;
        }
        w->data[w->used++] = 'f';
        put_eight(w, bits_of(PyFloat_AS_DOUBLE(value)));
        return 0;
    }
    if (type == &PyLong_Type) {
        return write_whole(w, value);
    }
    if (type == &PyUnicode_Type) {
        int moving = flor_moves(w, value);
        return moving < 0 ? -1 : moving ? flor_escape(w, value) : flor_write_text(w, value);
    }
    if (type == &PyBytes_Type) {
        return put_sized(w, 'b', PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    }
    if (value == Py_None || type == &PyBool_Type) {
        if (flor_room_for(w, 1) < 0) {
            return -1;
        }
        w->data[w->used++] = value == Py_None ? 'N' : value == Py_True ? 'T' : 'F';
        return 0;
    }
    return flor_escape(w, value);
}
/* -- arrays ------------------------------------------------------------------------------------ */

/* 'd' when all are floats, 'q' when all are ints of 64 bits, else 0. */
char
flor_array_code(PyObject *const *items, Py_ssize_t length)
{
    PyTypeObject *type = Py_TYPE(items[0]);
    if (type != &PyFloat_Type && type != &PyLong_Type) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < length; i++) {
        if (!Py_IS_TYPE(items[i], type)) {
            return 0;
        }
        if (type == &PyLong_Type) {
            int overflow;
            (void)PyLong_AsLongLongAndOverflow(items[i], &overflow);
            if (overflow) {
                return 0;
            }
        }
    }
    return type == &PyFloat_Type ? 'd' : 'q';
}

void
flor_fill_array(unsigned char *out, char code, PyObject *const *items, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length; i++, out += 8) {
        uint64_t bits = code == 'd' ? bits_of(PyFloat_AS_DOUBLE(items[i]))
                                    : (uint64_t)PyLong_AsLongLong(items[i]);
#if PY_BIG_ENDIAN
        bits = __builtin_bswap64(bits);
#endif
        memcpy(out, &bits, 8);
    }
}
