/* The contract between the engine and a plug-in that computes parts of graphs on a device of its
 * own (libmizzen_cuda.so). Plain C: the two may be built by different compilers.
 *
 * Every struct that one side allocates and the other fills or reads begins with its size in bytes.
 * A side that meets a smaller struct than it knows treats the missing fields as zero; nothing is
 * ever reordered. A change that this does not cover raises MIZZEN_PLUGIN_ABI, and a plug-in with
 * another number is refused.
 *
 * Text is UTF-8 and ends in a zero byte. What is passed to a function stays valid until it returns,
 * but for the bytes of constants, which stay until the device is closed. Functions may be called
 * from several threads at once unless they say otherwise; none throws.
 */
#ifndef MIZZEN_INFERENCE_DEVICE_PLUGIN_H
#define MIZZEN_INFERENCE_DEVICE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIZZEN_PLUGIN_ABI 2U
#define MIZZEN_PLUGIN_ENTRY "mizzen_plugin_entry"

/* In place of an id: an optional input or output that is left out. */
#define MIZZEN_NO_VALUE UINT32_MAX

/* Codes are those of mizzen::errc, in its order, plus one; 0 is success. */
typedef struct mizzen_error {
  uint32_t size;
  int32_t code;
  char subject[256];
  char message[1024];
} mizzen_error;

typedef struct mizzen_device_info {
  uint32_t size;
  int32_t available;
  char name[32];         /* "cuda:0" */
  char description[128]; /* "NVIDIA H100 80GB HBM3, 81559 MiB" */
  char reason[512];      /* why it is not available */
} mizzen_device_info;

/* How float32 is computed. */
enum {
  MIZZEN_MATH_FLOAT32 = 0, /* as it stands */
  MIZZEN_MATH_TF32 = 1,    /* products on tensor cores, factors rounded to 10 bits */
  MIZZEN_MATH_FLOAT16 = 2  /* values between the inputs and outputs of a part are float16 */
};

typedef struct mizzen_device_options {
  uint32_t size;
  int32_t math;
  uint64_t memory_limit; /* bytes of the device for constants and for one run; 0: no limit */
  const char* cache;     /* folder for compiled kernels and choices; null or "": none */
} mizzen_device_options;

enum {
  MIZZEN_ATTRIBUTE_INT = 1,
  MIZZEN_ATTRIBUTE_FLOAT = 2,
  MIZZEN_ATTRIBUTE_STRING = 3,
  MIZZEN_ATTRIBUTE_INTS = 4,
  MIZZEN_ATTRIBUTE_FLOATS = 5,
  MIZZEN_ATTRIBUTE_STRINGS = 6 /* in s, each with a line feed behind it */
};

typedef struct mizzen_attribute {
  uint32_t size;
  int32_t kind;
  const char* name;
  int64_t i;
  const char* s;
  const int64_t* ints;
  const float* floats;
  uint64_t count; /* of ints or floats */
  float f;
} mizzen_attribute;

typedef struct mizzen_value {
  uint32_t size;
  int32_t type;         /* ONNX TensorProto.DataType */
  int32_t rank;         /* -1: not known */
  const int64_t* shape; /* -1: not known (never in compile) */
  const char* name;
  const void* constant; /* dense row-major bytes; null: not constant */
  uint64_t bytes;       /* of the constant */
} mizzen_value;

typedef struct mizzen_node {
  uint32_t size;
  uint32_t input_count, output_count, attribute_count;
  const char* name;
  const char* op_type;
  const char* domain; /* "" is ONNX's own */
  int64_t opset;
  const uint32_t* inputs; /* into mizzen_graph.values */
  const uint32_t* outputs;
  const mizzen_attribute* attributes;
} mizzen_node;

/* Nodes are in topological order. */
typedef struct mizzen_graph {
  uint32_t size;
  uint32_t value_count, node_count, input_count, output_count;
  const mizzen_value* values;
  const mizzen_node* nodes;
  const uint32_t* inputs;
  const uint32_t* outputs;
} mizzen_graph;

enum {
  MIZZEN_ON_HOST = 0,
  MIZZEN_ON_DEVICE = 1 /* in the memory of the device that the function is about */
};

/* Dense row-major memory of the type and shape that compile() was told. */
typedef struct mizzen_buffer {
  void* data;
  uint64_t bytes;
  int32_t location;
} mizzen_buffer;

typedef struct mizzen_run_options {
  uint32_t size;
  /* Of the device (CUstream): the run comes after what is in it, and what is put into it later
   * after the run. Null: the run begins at once. */
  void* stream;
} mizzen_run_options;

typedef struct mizzen_memory mizzen_memory;
typedef struct mizzen_device mizzen_device;
typedef struct mizzen_compiled mizzen_compiled;

/* What the entry point returns: static, never freed. Functions that return int32_t return the code
 * that they put into the error; error may be null. */
typedef struct mizzen_plugin {
  uint32_t size;
  uint32_t abi;
  const char* version;

  /* Devices that are there or could be; at least one, that says why there is none. */
  uint32_t (*device_count)(void);
  int32_t (*describe)(uint32_t index, mizzen_device_info* info, mizzen_error* error);

  int32_t (*open)(uint32_t index, const mizzen_device_options* options, mizzen_device** device,
                  mizzen_error* error);
  /* After all that was compiled on it has been released. */
  void (*close)(mizzen_device* device);

  /* 1 if the one node of this graph can be computed, whatever its dimensions that are not known
   * yet. */
  int32_t (*supports)(const mizzen_device* device, const mizzen_graph* graph);

  /* A graph of which every type and shape is known. */
  int32_t (*compile)(mizzen_device* device, const mizzen_graph* graph, mizzen_compiled** compiled,
                     mizzen_error* error);
  void (*release)(mizzen_compiled* compiled);

  /* Computes the outputs from the inputs, both in the graph's order; an output without data is not
   * wanted. Returns when they are there; with a stream, and where no byte of an input or output is
   * on the host, at once. An index out of range may then be told by a later run. */
  int32_t (*run)(const mizzen_compiled* compiled, const mizzen_buffer* inputs,
                 const mizzen_buffer* outputs, const mizzen_run_options* options,
                 mizzen_error* error);

  /* The memory of a device, for whoever wants some: what is allocated here is good for all that is
   * opened on the same device. */
  int32_t (*memory_open)(uint32_t index, mizzen_memory** memory, mizzen_error* error);
  void (*memory_close)(mizzen_memory* memory);
  /* Aligned to 256 bytes; zeroed if zero is not 0. */
  int32_t (*memory_allocate)(mizzen_memory* memory, uint64_t bytes, int32_t zero, void** data,
                             mizzen_error* error);
  /* After work on the device that is under way. */
  void (*memory_release)(mizzen_memory* memory, void* data);
  /* From one buffer to another of the same size, either of which may be on the host. Comes after
   * what is in the stream (null: none). Returns when it is done; at once, where both are on the
   * device and there is a stream. */
  int32_t (*memory_copy)(mizzen_memory* memory, const mizzen_buffer* from, const mizzen_buffer* to,
                         void* stream, mizzen_error* error);
  /* Until all in the stream is done (null: all on the device). */
  int32_t (*memory_wait)(mizzen_memory* memory, void* stream, mizzen_error* error);
} mizzen_plugin;

/* The one symbol of a plug-in. abi is the engine's: one that the plug-in does not know gives its
 * own table nevertheless, whose first three fields are good in every version, so that the engine
 * can say what differs. */
typedef const mizzen_plugin* (*mizzen_plugin_entry_function)(uint32_t abi);

#ifdef __cplusplus
}
#endif

#endif
