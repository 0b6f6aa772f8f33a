/* Tells that plain containers did not change, by the addresses they hold and not by contents. */
#include "pack.h"

/* -- a table of objects ----------------------------------------------------------------------- */

static size_t
place_of(const FlorTable *table, PyObject *key)
{
    size_t at = ((uintptr_t)key >> 4) * (size_t)0x9E3779B97F4A7C15u >> 20;
    for (at &= table->size - 1; table->keys[at] != NULL && table->keys[at] != key;) {
        at = (at + 1) & (table->size - 1);
    }
    return at;
}

static int
grow(FlorTable *table)
{
    FlorTable larger = {.size = table->size ? 2 * table->size : 64, .used = table->used};
    larger.keys = PyMem_Calloc(larger.size, sizeof(PyObject *));
    larger.values = PyMem_Malloc(larger.size * sizeof(long long));
    if (larger.keys == NULL || larger.values == NULL) {
        flor_table_free(&larger);
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < table->size; i++) {
        if (table->keys[i] != NULL) {
            size_t at = place_of(&larger, table->keys[i]);
            larger.keys[at] = table->keys[i];
            larger.values[at] = table->values[i];
        }
    }
    flor_table_free(table);
    *table = larger;
    return 0;
}

int
flor_table_set(FlorTable *table, PyObject *key, long long value)
{
    if (2 * (table->used + 1) > table->size && grow(table) < 0) {
        return -1;
    }
    size_t at = place_of(table, key);
    table->used += table->keys[at] == NULL;
    table->keys[at] = key;
    table->values[at] = value;
    return 0;
}

long long
flor_table_get(const FlorTable *table, PyObject *key)
{
    if (table->size == 0) {
        return -1;
    }
    size_t at = place_of(table, key);
    return table->keys[at] == NULL ? -1 : table->values[at];
}

void
flor_table_free(FlorTable *table)
{
    PyMem_Free(table->keys);
    PyMem_Free(table->values);
    *table = (FlorTable){0};
}

/* -- what containers looked like --------------------------------------------------------------- */

FlorMemo *
flor_memo_new(PyTypeObject *type)
{
    FlorMemo *memo = (FlorMemo *)type->tp_alloc(type, 0);
    if (memo != NULL) {
        memo->parts = NULL;
        memo->count = memo->size = 0;
    }
    return memo;
}

static int
make_room(FlorMemo *memo)
{
    if (memo->count < memo->size) {
        return 0;
    }
    Py_ssize_t size = memo->size ? 2 * memo->size : 16;
    FlorPart *parts = PyMem_Realloc(memo->parts, (size_t)size * sizeof(FlorPart));
    if (parts == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memo->parts = parts;
    memo->size = size;
    return 0;
}

int
flor_memo_add(FlorMemo *memo, PyObject *container)
{
    if (make_room(memo) < 0) {
        return -1;
    }
    FlorPart part = {.object = container};
    if (PyDict_CheckExact(container)) {
        if (!flor_dict_version(container, &part.version)) {
            return 1;
        }
    }
    else {
        part.length = PyList_GET_SIZE(container);
        part.items = PyMem_Malloc((size_t)(part.length + 1) * sizeof(PyObject *));
        if (part.items == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        for (Py_ssize_t i = 0; i < part.length; i++) {
            part.items[i] = Py_NewRef(PyList_GET_ITEM(container, i));
        }
    }
    memo->parts[memo->count++] = part;
    return 0;
}

static int
part_holds(const FlorPart *part)
{
    if (part->items == NULL) {
        uint64_t version;
        return flor_dict_version(part->object, &version) && version == part->version;
    }
    return PyList_GET_SIZE(part->object) == part->length
           && memcmp(((PyListObject *)part->object)->ob_item, part->items,
                     (size_t)part->length * sizeof(PyObject *)) == 0;
}

int
flor_memo_holds(const FlorMemo *memo, PyObject *root)
{
    /* Another object may be where the root was; it is as good if it holds the same. */
    PyTypeObject *type = memo->parts[0].items == NULL ? &PyDict_Type : &PyList_Type;
    if (root != memo->parts[0].object || !Py_IS_TYPE(root, type)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < memo->count; i++) {
        if (!part_holds(&memo->parts[i])) {
            return 0;
        }
    }
    return 1;
}

static void
memo_dealloc(PyObject *op)
{
    FlorMemo *memo = (FlorMemo *)op;
    PyTypeObject *type = Py_TYPE(op);
    for (Py_ssize_t i = 0; i < memo->count; i++) {
        for (Py_ssize_t n = 0; n < memo->parts[i].length; n++) {
            Py_DECREF(memo->parts[i].items[n]);
        }
        PyMem_Free(memo->parts[i].items);
    }
    PyMem_Free(memo->parts);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot memo_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What the containers of a packed object looked like.")},
    {Py_tp_dealloc, memo_dealloc},
    {0, NULL},
};

PyType_Spec flor_memo_spec = {
    .name = "flor_trace._speedups.Memo",
    .basicsize = sizeof(FlorMemo),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = memo_slots,
};
