/* The part of DLPack's C exchange interface that reading a tensor takes, after its specification.

   A tensor type that has it holds a capsule "dlpack_exchange_api" in `__dlpack_c_exchange_api__`;
   so nothing of any library is linked, and one build serves all versions of it. */
#ifndef FLOR_DLPACK_H
#define FLOR_DLPACK_H

#include <stdint.h>

enum { FLOR_DL_CPU = 1 };
enum { FLOR_DL_MAJOR = 1 }; /* the version of the interface whose layout this is */

typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} FlorDLType;

typedef struct {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    FlorDLType dtype;
    int64_t *shape, *strides; /* of the tensor's own memory; strides count elements */
    uint64_t byte_offset;
} FlorDLTensor;

typedef struct FlorDLHeader {
    uint32_t major, minor;
    struct FlorDLHeader *previous;
} FlorDLHeader;

typedef struct {
    FlorDLHeader header;
    int (*allocate)(void);
    int (*managed_from)(void);
    int (*managed_to)(void);
    int (*tensor_from)(void *tensor, FlorDLTensor *out); /* -1 with a Python exception; or NULL */
    int (*current_stream)(void);
} FlorDLExchange;

#endif
