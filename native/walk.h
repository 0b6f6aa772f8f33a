/* Walker, which follows what objects refer to. */
#ifndef FLOR_WALK_H
#define FLOR_WALK_H

#include "nodes.h"

/* How the node of an object is made: by the codec, or here. */
typedef enum { BY_CODEC, INSTANCE, DICT, LIST, TUPLE, EMPTY_ONLY, EMPTY_SET, WAYS } FlorWay;

/* What the walk hands over. */
enum { NODE_TYPE, POOL, MORE_IDS, EMPTY, WALK_PARTS };

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    FlorNodes nodes;
    PyObject *parts[WALK_PARTS];
    PyObject *objects, *ids, *owners, *prefixes, *nan;
    PyObject *kinds[WAYS], *no_names, *no_leaf, *part;
    Py_ssize_t most; /* characters of a text that is an atom */
} FlorWalker;

/* The object itself if it is an atom, else the id of its node: a new reference, or NULL.  Runs none
   of the program's code, nor Python at all when there are ids enough. */
PyObject *flor_walk_ref(FlorWalker *self, PyObject *obj);
/* Let there be ids for so many more objects; 0, or -1 with an exception. */
int flor_walk_reserve(FlorWalker *self, Py_ssize_t count);
/* The node of an object made here; NULL without an exception when that cannot be.  `names` are
   those of an earlier instance, or None. */
PyObject *flor_walk_node(
    FlorWalker *self, PyObject *walk, PyObject *obj, FlorWay way, PyObject *type_name,
    PyObject *names);

int flor_add_walk(PyObject *module);

#endif
