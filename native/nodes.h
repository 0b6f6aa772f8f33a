/* Making nodes of the state graph. */
#ifndef FLOR_NODES_H
#define FLOR_NODES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* The fields of a node. */
enum { KIND, TYPE_NAME, PAYLOAD, CHILDREN, NAMES, LEAF, FIELDS };

/* The type of nodes and where one keeps its fields; `type` is borrowed. */
typedef struct {
    PyTypeObject *type;
    Py_ssize_t fields[FIELDS];
} FlorNodes;

/* Find out where nodes keep their fields; 0, or -1 with an exception. */
int flor_find_fields(FlorNodes *nodes, PyObject *type);
/* A new node of these fields, taking each reference; NULL when one of them is NULL. */
PyObject *flor_make_node(const FlorNodes *nodes, PyObject *fields[FIELDS]);
/* What a node has in a field, borrowed; NULL when it is no node or that is not set. */
PyObject *flor_node_field(const FlorNodes *nodes, PyObject *node, int field);

#endif
