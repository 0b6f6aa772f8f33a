/* Packer: writes a tree of plain containers and scalars as bytes, in the format of packing.py. */
#include "pack.h"

#include <stddef.h>

enum { DEEPEST = 64, TUPLES = 8, ARRAY_FROM = 8, LEAST = 64, MANY = 16 };
/* What writing a value can come to, beside 0 for success and -1 for an exception. */
enum { GIVE_UP = 1, IN_TUPLE = 2 };
/* Numbers of parts in the packer's table: which packed object, and where in it. */
enum { OWNER_SHIFT = 40 };

typedef struct {
    PyObject_HEAD
    PyTypeObject *memo_type;
    PyObject *ids, *prefixes, *ignored;
    PyObject *held; /* the parts, so that no other object comes to lie where they are */
    FlorTable parts;
    long long packed;
} Packer;

typedef struct {
    PyObject *key; /* NULL: the index */
    Py_ssize_t index;
} Step;

typedef struct {
    Packer *packer;
    unsigned char *data;
    size_t used, size;
    FlorTable local;
    PyObject **met; /* the mutable containers below the root */
    Py_ssize_t parts, room, objects, escaped;
    PyObject *escapes, *paths;
    Step steps[DEEPEST];
    int depth, tuples;
    PyObject *fine[64]; /* keys that were looked at and are neither ignored nor moved */
} Writer;

static int write_value(Writer *w, PyObject *value);

/* -- bytes ------------------------------------------------------------------------------------- */

static int
room_for(Writer *w, size_t more)
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

static void
put_number(Writer *w, unsigned long long number)
{
    while (number >= 0x80) {
        w->data[w->used++] = (unsigned char)(number | 0x80);
        number >>= 7;
    }
    w->data[w->used++] = (unsigned char)number;
}

static int
put_tagged(Writer *w, char tag, unsigned long long number)
{
    if (room_for(w, 11) < 0) {
        return -1;
    }
    w->data[w->used++] = (unsigned char)tag;
    put_number(w, number);
    return 0;
}

static int
put_sized(Writer *w, char tag, const void *bytes, Py_ssize_t length)
{
    if (room_for(w, (size_t)length + 11) < 0 || put_tagged(w, tag, (size_t)length) < 0) {
        return -1;
    }
    memcpy(w->data + w->used, bytes, (size_t)length);
    w->used += (size_t)length;
    return 0;
}

static void
put_eight(Writer *w, uint64_t bits)
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
path_of(const Writer *w)
{
    PyObject *path = PyTuple_New(w->depth);
    for (int i = 0; path != NULL && i < w->depth; i++) {
        const Step *step = &w->steps[i];
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

static int
escape(Writer *w, PyObject *value)
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
    return put_tagged(w, 'e', (unsigned long long)w->escaped++);
}

/* -- scalars ----------------------------------------------------------------------------------- */

/* Whether the text begins with a path that may move, and so is saved in another way. */
static int
moves(const Writer *w, PyObject *text)
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

static int
write_text(Writer *w, PyObject *text)
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
write_whole(Writer *w, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) {
        return escape(w, value);
    }
    unsigned long long zigzag = ((unsigned long long)number << 1) ^ (number < 0 ? ~0ULL : 0ULL);
    return put_tagged(w, 'i', zigzag);
}

static int
write_scalar(Writer *w, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyFloat_Type) {
        if (room_for(w, 9) < 0) {
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
        int moving = moves(w, value);
        return moving < 0 ? -1 : moving ? escape(w, value) : write_text(w, value);
    }
    if (type == &PyBytes_Type) {
        return put_sized(w, 'b', PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    }
    if (value == Py_None || type == &PyBool_Type) {
        if (room_for(w, 1) < 0) {
            return -1;
        }
        w->data[w->used++] = value == Py_None ? 'N' : value == Py_True ? 'T' : 'F';
        return 0;
    }
    return escape(w, value);
}

/* -- sequences --------------------------------------------------------------------------------- */

/* 'd' when all are floats, 'q' when all are ints of 64 bits, else 0. */
static char
array_code(PyObject *const *items, Py_ssize_t length)
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

static void
fill_array(unsigned char *out, char code, PyObject *const *items, Py_ssize_t length)
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

/* The items, one by one or as an array; `tag` is 'l' or 't'. */
static int
write_items(Writer *w, char tag, PyObject *const *items, Py_ssize_t length)
{
    char code = length >= ARRAY_FROM ? array_code(items, length) : 0;
    w->objects += length;
    if (code != 0) {
        if (room_for(w, 12 + 8 * (size_t)length) < 0) {
            return -1;
        }
        w->data[w->used++] = tag == 'l' ? 'L' : 'U';
        w->data[w->used++] = (unsigned char)code;
        put_number(w, (size_t)length);
        fill_array(w->data + w->used, code, items, length);
        w->used += 8 * (size_t)length;
        return 0;
    }
    int result = put_tagged(w, tag, (size_t)length);
    Step *step = &w->steps[w->depth++];
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
write_tuple(Writer *w, PyObject *tuple)
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
        return escape(w, tuple);
    }
    return result;
}

/* -- dicts ------------------------------------------------------------------------------------- */

/* Whether a string is a key whose value counts by its type only, or one that may move. */
static int
is_special_key(Writer *w, PyObject *key)
{
    PyObject **fine = &w->fine[((uintptr_t)key >> 4) & 63];
    if (*fine == key) {
        return 0;
    }
    int special = moves(w, key);
    if (special == 0) {
        special = PySet_Contains(w->packer->ignored, key);
    }
    if (special == 0) {
        *fine = key;
    }
    return special;
}

static int
write_key(Writer *w, PyObject *key)
{
    if (Py_IS_TYPE(key, &PyUnicode_Type)) {
        int special = is_special_key(w, key);
        return special == 0 ? write_text(w, key) : special < 0 ? -1 : GIVE_UP;
    }
    w->tuples++; /* so that what cannot be written is told, and not set aside */
    int result = write_value(w, key);
    w->tuples--;
    return result == IN_TUPLE ? GIVE_UP : result;
}

static int
write_dict(Writer *w, PyObject *dict)
{
    Py_ssize_t at = 0;
    PyObject *key, *value;
    int result = put_tagged(w, 'd', (size_t)PyDict_GET_SIZE(dict));
    w->objects += PyDict_GET_SIZE(dict);
    Step *step = &w->steps[w->depth++];
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
static int
is_known(Packer *packer, PyObject *object)
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
meet(Writer *w, PyObject *container)
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
write_container(Writer *w, PyObject *container)
{
    if (w->depth >= DEEPEST) {
        return escape(w, container);
    }
    long long number = flor_table_get(&w->local, container);
    if (number >= 0 && number < w->parts && w->met[number] == container) {
        return put_tagged(w, 'r', (unsigned long long)number);
    }
    int known = is_known(w->packer, container);
    if (known != 0) {
        return known < 0 ? -1 : escape(w, container);
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
write_value(Writer *w, PyObject *value)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyList_Type || type == &PyDict_Type) {
        return write_container(w, value);
    }
    if (type == &PyTuple_Type) {
        return w->depth >= DEEPEST ? escape(w, value) : write_tuple(w, value);
    }
    return write_scalar(w, value);
}

/* -- the packer -------------------------------------------------------------------------------- */

static int
write_root(Writer *w, PyObject *root)
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

/* Make the parts findable, and keep them alive. */
static int
keep_parts(Packer *packer, PyObject *const *parts, Py_ssize_t count)
{
    long long owner = packer->packed++ << OWNER_SHIFT;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (flor_table_set(&packer->parts, parts[i], owner + i) < 0
            || PyList_Append(packer->held, parts[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
make_memo(const Writer *w, PyObject *root)
{
    FlorMemo *memo = NULL;
    if (w->escaped > 0 || Py_IS_TYPE(root, &PyTuple_Type)) {
        return Py_NewRef(Py_None);
    }
    memo = flor_memo_new(w->packer->memo_type);
    int result = memo == NULL ? -1 : flor_memo_add(memo, root);
    for (Py_ssize_t i = 0; result == 0 && i < w->parts; i++) {
        result = flor_memo_add(memo, w->met[i]);
    }
    if (result == 0) {
        return (PyObject *)memo;
    }
    Py_XDECREF(memo);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
finish(Writer *w, PyObject *root, int remember)
{
    if (w->objects < LEAST * (1 + w->escaped)) {
        return Py_NewRef(Py_None);
    }
    PyObject *memo = remember ? make_memo(w, root) : Py_NewRef(Py_None);
    PyObject *paths = PyList_AsTuple(w->paths), *data = NULL, *result = NULL;
    if (memo != NULL && paths != NULL && keep_parts(w->packer, w->met, w->parts) == 0) {
        data = PyBytes_FromStringAndSize((const char *)w->data, (Py_ssize_t)w->used);
    }
    if (data != NULL) {
        result = Py_BuildValue("OnnOOO", data, w->objects, w->parts, w->escapes, paths, memo);
    }
    Py_XDECREF(memo);
    Py_XDECREF(paths);
    Py_XDECREF(data);
    return result;
}

static PyObject *
packer_pack(PyObject *op, PyObject *args)
{
    PyObject *root, *result = NULL;
    int remember = 0;
    if (!PyArg_ParseTuple(args, "O|p:pack", &root, &remember)) {
        return NULL;
    }
    if (!PyList_CheckExact(root) && !PyTuple_CheckExact(root) && !PyDict_CheckExact(root)) {
        return Py_NewRef(Py_None);
    }
    Writer w = {.packer = (Packer *)op, .escapes = PyList_New(0), .paths = PyList_New(0)};
    int done = w.escapes == NULL || w.paths == NULL ? -1 : write_root(&w, root);
    if (done == 0) {
        result = finish(&w, root, remember);
    }
    else if (done > 0) {
        result = Py_NewRef(Py_None);
    }
    while (w.parts > 0) {
        Py_DECREF(w.met[--w.parts]);
    }
    PyMem_Free(w.met);
    PyMem_Free(w.data);
    flor_table_free(&w.local);
    Py_XDECREF(w.escapes);
    Py_XDECREF(w.paths);
    return result;
}

static PyObject *
packer_holds(PyObject *op, PyObject *args)
{
    Packer *packer = (Packer *)op;
    PyObject *root, *given;
    if (!PyArg_ParseTuple(args, "OO!:holds", &root, packer->memo_type, &given)) {
        return NULL;
    }
    FlorMemo *memo = (FlorMemo *)given;
    if (!flor_memo_holds(memo, root)) {
        Py_RETURN_FALSE;
    }
    Py_ssize_t count = memo->count - 1;
    PyObject **parts = PyMem_Malloc((size_t)(count + 1) * sizeof(PyObject *));
    int known = parts == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; known == 0 && i < count; i++) {
        parts[i] = memo->parts[i + 1].object;
        known = is_known(packer, parts[i]);
    }
    if (known == 0) {
        known = keep_parts(packer, parts, count);
    }
    PyMem_Free(parts);
    return known < 0 ? (parts == NULL ? PyErr_NoMemory() : NULL) : PyBool_FromLong(!known);
}

static PyObject *
packer_find(PyObject *op, PyObject *object)
{
    long long found = flor_table_get(&((Packer *)op)->parts, object);
    if (found < 0) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("LL", found >> OWNER_SHIFT, found & ((1LL << OWNER_SHIFT) - 1));
}

static PyObject *
packer_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    PyObject *ids, *prefixes, *ignored;
    if (!PyArg_ParseTuple(args, "O!O!O!:Packer", &PyDict_Type, &ids, &PyTuple_Type, &prefixes,
                          &PyFrozenSet_Type, &ignored)) {
        return NULL;
    }
    PyObject *module = PyType_GetModule(type);
    PyObject *memo = module == NULL ? NULL : PyObject_GetAttrString(module, "Memo");
    Packer *packer = memo == NULL ? NULL : (Packer *)type->tp_alloc(type, 0);
    if (packer == NULL) {
        Py_XDECREF(memo);
        return NULL;
    }
    packer->memo_type = (PyTypeObject *)memo;
    packer->ids = Py_NewRef(ids);
    packer->prefixes = Py_NewRef(prefixes);
    packer->ignored = Py_NewRef(ignored);
    packer->parts = (FlorTable){0};
    packer->packed = 0;
    if ((packer->held = PyList_New(0)) == NULL) {
        Py_CLEAR(packer);
    }
    return (PyObject *)packer;
}

static void
packer_dealloc(PyObject *op)
{
    Packer *packer = (Packer *)op;
    PyTypeObject *type = Py_TYPE(op);
    Py_XDECREF(packer->memo_type);
    Py_XDECREF(packer->ids);
    Py_XDECREF(packer->prefixes);
    Py_XDECREF(packer->ignored);
    Py_XDECREF(packer->held);
    flor_table_free(&packer->parts);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef packer_methods[] = {
    {"pack", packer_pack, METH_VARARGS,
     PyDoc_STR("pack($self, container, remember=False, /)\n--\n\n"
               "(bytes, objects, parts, escapes, paths, memo or None) of a plain list, dict or "
               "tuple,\nor None when it is too small or holds too much else.")},
    {"holds", packer_holds, METH_VARARGS,
     PyDoc_STR("holds($self, container, memo, /)\n--\n\n"
               "Whether packing would give the bytes again that came with the memo; its parts are\n"
               "met then.")},
    {"find", packer_find, METH_O,
     PyDoc_STR("find($self, object, /)\n--\n\n"
               "(number of the packed container, number of the part) of a part, or None.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot packer_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Packer(ids, prefixes, ignored, /)\n--\n\n"
                                  "Packs containers, and knows the parts of those it packed.")},
    {Py_tp_new, packer_new},
    {Py_tp_dealloc, packer_dealloc},
    {Py_tp_methods, packer_methods},
    {0, NULL},
};

PyType_Spec flor_packer_spec = {
    .name = "flor_trace._speedups.Packer",
    .basicsize = sizeof(Packer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = packer_slots,
};

static PyObject *
pack_numbers(PyObject *Py_UNUSED(module), PyObject *sequence)
{
    if (!PyList_Check(sequence) && !PyTuple_Check(sequence)) {
        Py_RETURN_NONE;
    }
    PyObject **items = PySequence_Fast_ITEMS(sequence);
    Py_ssize_t length = PySequence_Fast_GET_SIZE(sequence);
    char code = length > 0 ? array_code(items, length) : 0;
    if (code == 0) {
        Py_RETURN_NONE;
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, 8 * length);
    if (data == NULL) {
        return NULL;
    }
    fill_array((unsigned char *)PyBytes_AS_STRING(data), code, items, length);
    return Py_BuildValue("CN", code, data);
}

static PyMethodDef functions[] = {
    {"pack_numbers", pack_numbers, METH_O,
     PyDoc_STR("pack_numbers($module, sequence, /)\n--\n\n"
               "('d', bytes) of a list or tuple of floats, ('q', bytes) of one of ints of 64 "
               "bits, else None.")},
    {NULL, NULL, 0, NULL},
};

int
flor_add_pack(PyObject *module)
{
    PyType_Spec *specs[] = {&flor_packer_spec, &flor_memo_spec};
    for (int i = 0; i < 2; i++) {
        PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, specs[i], NULL);
        int failed = type == NULL || PyModule_AddType(module, type) < 0;
        Py_XDECREF(type);
        if (failed) {
            return -1;
        }
    }
    return PyModule_AddFunctions(module, functions);
}
