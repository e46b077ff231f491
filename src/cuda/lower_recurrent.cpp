// LSTM, GRU and RNN: the inputs of all steps in one product, then a block for each sequence and
// direction that walks through time. The state stays in shared memory as float32; the recurrent
// weights are read anew in each step, which the cache of the GPU is there for.
#include "cuda/kernel_writer.hpp"
#include "cuda/lower.hpp"

#include <algorithm>
#include <string>

namespace mizzen::cuda {
namespace {

constexpr std::int64_t most_hidden = 1024;  // all of the state must fit into shared memory

std::int64_t gates_of(const node& n) {
  return n.op_type == "LSTM" ? 4 : n.op_type == "GRU" ? 3 : 1;
}

bool has_usual_functions(const node& n) {
  std::string given = n.get_string("activations", "");
  if (given.empty()) return !n.has("activations");
  std::transform(given.begin(), given.end(), given.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const std::string one = n.op_type == "LSTM"  ? "sigmoid\ntanh\ntanh\n"
                          : n.op_type == "GRU" ? "sigmoid\ntanh\n"
                                               : "tanh\n";
  return given == one || given == one + one;
}

bool supports(const part& p, const node& n) {
  for (const std::size_t i : {0, 1, 2}) {
    if (!float_in(p, n, i)) return false;
  }
  for (const std::size_t i : {3, 5, 6, 7}) {
    if (n.has_input(i) && !float_in(p, n, i)) return false;
  }
  for (const value_id v : n.outputs) {
    if (v != no_value && !is_float(p.values[v].type)) return false;
  }
  const value& r = p.values[n.inputs[2]];
  return !n.has_input(4) && n.get_float("clip", 0.0F) == 0.0F &&
         n.get_int("input_forget", 0) == 0 && has_usual_functions(n) && r.is_concrete() &&
         r.shape->size() == 3 && r.shape->back() <= most_hidden && r.shape->back() > 0;
}

// The text of one operator's kernel.
class recurrence {
 public:
  recurrence(lowering& l, const node& n)
      : l_(l),
        n_(n),
        w_(l.buffers()),
        hidden_(l.shape(n.inputs[2])[2]),
        directions_(l.shape(n.inputs[2])[0]),
        rows_(gates_of(n) * hidden_),
        batch_first_(n.get_int("layout", 0) != 0) {
    const dims& x = l.shape(n.inputs[0]);
    steps_ = x[batch_first_ ? 1 : 0];
    batch_ = x[batch_first_ ? 0 : 1];
  }

  void lower() {
    const element_type type = l_.storage(l_.type(n_.inputs[0]));
    const std::int64_t states = directions_ * batch_ * hidden_;
    const std::int64_t all = steps_ * states;
    // All outputs are in one buffer: the sequence, the last state and the last cell.
    out_ = l_.allocate({all + 2 * states}, type);
    const auto output = [&](std::size_t i, std::int64_t offset) {
      if (i >= n_.outputs.size() || n_.outputs[i] == no_value) return;
      const dims& shape = l_.shape(n_.outputs[i]);
      l_.set(n_.outputs[i], view{out_.buffer, type, offset, shape, dense_strides(shape)});
    };
    output(0, 0);
    output(1, all);
    output(2, all + states);
    if (states == 0) return;
    weigh_inputs(type);
    // Neighbouring threads have neighbouring rows: so have the weights.
    const view r = l_.in_memory_as(n_.inputs[2], type,
                                   [](const view& v) { return v.strides[1] == 1; }, {0, 2, 1});
    r_ = w_.pointer(r.buffer);
    r_view_ = r;
    w_.meets = true;
    write();
    l_.add(w_.finish(out_.buffer, directions_ * batch_, threads(), front_));
  }

 private:
  std::int64_t threads() const {
    return std::clamp<std::int64_t>((rows_ + warp - 1) / warp * warp, 64, 1024);
  }

  // Of all steps at once: [steps * batch, directions * rows].
  void weigh_inputs(element_type type) {
    view x = l_.in_memory(n_.inputs[0]);
    if (batch_first_) {
      std::swap(x.shape[0], x.shape[1]);
      std::swap(x.strides[0], x.strides[1]);
    }
    const std::int64_t width = x.shape[2];
    made_ = l_.allocate({1, steps_ * batch_, directions_ * rows_}, type);
    if (steps_ == 0) return;
    if (width == 0) l_.unsupported("inputs of no elements");
    std::optional<view> left = reshaped(x, {1, steps_ * batch_, width});
    if (!left) {
      const view dense = l_.allocate(x.shape, type);
      l_.copy(x, dense);
      left = reshaped(dense, {1, steps_ * batch_, width});
    }
    const view w = l_.in_memory_as(n_.inputs[1], type, is_dense);
    const view right{w.buffer, w.type, w.offset, {1, width, directions_ * rows_}, {0, 1, width}};
    multiply(l_, *left, right, made_);
  }

  std::string shared(const std::string& name, std::int64_t count) {
    front_ += "  __shared__ float " + name + "[" + number(count) + "];\n";
    return name;
  }

  // The loop over this thread's part of count elements.
  std::string each(const std::string& i, std::int64_t first, std::int64_t count) const {
    return "for (int " + i + " = " + number(first) + " + (int)threadIdx.x; " + i + " < " +
           number(first + count) + "; " + i + " += " + number(threads()) + ") ";
  }

  // A bias of row g: of the inputs (0) or of the recurrence (1).
  std::string bias(const std::string& g, int which) {
    if (!n_.has_input(3)) return "0.0f";
    const view b = l_.in_memory(n_.inputs[3]);
    return "read(" + w_.pointer(b.buffer) + ", " +
           index_text(b, {"d", "(" + g + " + " + number(which * rows_) + ")"}) + ")";
  }

  std::string from_input(const std::string& g) {
    return "read(" + w_.pointer(made_.buffer) + ", ((INDEX)t * " + number(batch_) + " + b) * " +
           number(directions_ * rows_) + " + d * " + number(rows_) + " + " + g + ")";
  }

  // Statements: sum = R[g] · what.
  std::string recur(const std::string& g, const std::string& what,
                    const std::string& indent) const {
    return indent + "float sum = 0.0f;\n#pragma unroll 16\n" + indent + "for (int k = 0; k < " +
           number(hidden_) + "; ++k) sum += read(" + r_ + ", " +
           index_text(r_view_, {"d", g, "k"}) + ") * " + what + "[k];\n";
  }

  std::string initial(std::size_t input) {
    if (!n_.has_input(input)) return "0.0f";
    const view v = l_.in_memory(n_.inputs[input]);
    return "read(" + w_.pointer(v.buffer) + ", " +
           index_text(v, batch_first_ ? std::vector<std::string>{"b", "d", "j"}
                                      : std::vector<std::string>{"d", "b", "j"}) +
           ")";
  }

  std::string peephole(int which) {
    if (!n_.has_input(7)) return "0.0f";
    const view p = l_.in_memory(n_.inputs[7]);
    return "read(" + w_.pointer(p.buffer) + ", " +
           index_text(p, {"d", "(j + " + number(which * hidden_) + ")"}) + ")";
  }

  void write() {
    const std::string h = number(hidden_);
    const bool lstm = n_.op_type == "LSTM";
    shared("h", hidden_);
    shared("gates", rows_);
    if (lstm) shared("cell", hidden_);
    std::string& t = w_.body;
    t = "  const int d = (int)(blockIdx.x / " + number(batch_) +
        "u);\n  const int b = (int)(blockIdx.x % " + number(batch_) + "u);\n  " +
        each("j", 0, hidden_) + "{\n    h[j] = " + initial(5) + ";\n" +
        (lstm ? "    cell[j] = " + initial(6) + ";\n" : "") + "  }\n  __syncthreads();\n" +
        "  for (int step = 0; step < " + number(steps_) + "; ++step) {\n    const int t = " +
        (n_.get_string("direction", "forward") == "reverse" ? "true" : "d == 1") + " ? " +
        number(steps_ - 1) + " - step : step;\n";
    if (lstm) {
      write_lstm();
    } else if (n_.op_type == "GRU") {
      write_gru();
    } else {
      t += "    " + each("g", 0, rows_) + "{\n" + recur("g", "h", "      ") +
           "      gates[g] = tanhf(" + from_input("g") + " + " + bias("g", 0) + " + " +
           bias("g", 1) + " + sum);\n    }\n    __syncthreads();\n    " + each("j", 0, hidden_) +
           "{\n      const float next = gates[j];\n" + store_step() + "    }\n";
    }
    t += "    __syncthreads();\n  }\n";
    const std::int64_t states = directions_ * batch_ * hidden_;
    const std::string state = std::string(batch_first_ ? "(b * " + number(directions_) + " + d)"
                                                       : "(d * " + number(batch_) + " + b)") +
                              " * " + h + " + j";
    t += "  " + each("j", 0, hidden_) + "{\n    put(q + (" + number(steps_ * states) + " + " +
         state + "), h[j]);\n" +
         (lstm ? "    put(q + (" + number((steps_ + 1) * states) + " + " + state + "), cell[j]);\n"
               : "") +
         "  }\n";
  }

  // Statements: the next state of unit j.
  std::string store_step() const {
    const std::string at =
        batch_first_
            ? "((b * " + number(steps_) + " + (INDEX)t) * " + number(directions_) + " + d)"
            : "(((INDEX)t * " + number(directions_) + " + d) * " + number(batch_) + " + b)";
    return "      h[j] = next;\n      put(q + (" + at + " * " + number(hidden_) + " + j), next);\n";
  }

  // Gates in the order input, output, forget, cell.
  void write_lstm() {
    const std::string h = number(hidden_);
    w_.body +=
        "    " + each("g", 0, rows_) + "{\n" + recur("g", "h", "      ") +
        "      gates[g] = " + from_input("g") + " + " + bias("g", 0) + " + " + bias("g", 1) +
        " + sum;\n    }\n    __syncthreads();\n    " + each("j", 0, hidden_) +
        "{\n      const float before = cell[j];\n" + "      const float i = sigmoid(gates[j] + " +
        peephole(0) + " * before);\n      const float f = sigmoid(gates[j + " +
        number(2 * hidden_) + "] + " + peephole(2) +
        " * before);\n      const float now = f * before + i * "
        "tanhf(gates[j + " +
        number(3 * hidden_) + "]);\n      const float o = sigmoid(gates[j + " + h + "] + " +
        peephole(1) + " * now);\n      cell[j] = now;\n      const float next = o * tanhf(now);\n" +
        store_step() + "    }\n";
  }

  // Gates in the order update, reset, hidden.
  void write_gru() {
    const std::string h = number(hidden_);
    const std::string two = number(2 * hidden_);
    const bool before_reset = n_.get_int("linear_before_reset", 0) != 0;
    std::string& t = w_.body;
    t += "    " + each("g", 0, before_reset ? rows_ : 2 * hidden_) + "{\n" +
         recur("g", "h", "      ") + "      const float back = sum + " + bias("g", 1) +
         ";\n      gates[g] = g < " + two + " ? sigmoid(" + from_input("g") + " + " + bias("g", 0) +
         " + back) : back;\n    }\n    __syncthreads();\n";
    if (before_reset) {
      t += "    " + each("j", 0, hidden_) + "{\n      const float fresh = tanhf(" +
           from_input("(j + " + two + ")") + " + " + bias("(j + " + two + ")", 0) +
           " + gates[j + " + h + "] * gates[j + " + two + "]);\n";
    } else {
      shared("kept", hidden_);
      t += "    " + each("j", 0, hidden_) + "kept[j] = gates[j + " + h +
           "] * h[j];\n    __syncthreads();\n    " + each("g", 2 * hidden_, hidden_) + "{\n" +
           recur("g", "kept", "      ") + "      gates[g] = tanhf(" + from_input("g") + " + " +
           bias("g", 0) + " + " + bias("g", 1) + " + sum);\n    }\n    __syncthreads();\n    " +
           each("j", 0, hidden_) + "{\n      const float fresh = gates[j + " + two + "];\n";
    }
    t += "      const float next = (1.0f - gates[j]) * fresh + gates[j] * h[j];\n" + store_step() +
         "    }\n";
  }

  lowering& l_;
  const node& n_;
  writer w_;
  std::int64_t hidden_, directions_, rows_;  // rows: of all gates
  bool batch_first_;
  std::int64_t steps_ = 0, batch_ = 0;
  view out_, made_, r_view_;
  std::string r_, front_;
};

void recurrent(lowering& l, const node& n) { recurrence(l, n).lower(); }

}  // namespace

void add_recurrent_rules(rule_table& table) {
  for (const std::string_view name : {"LSTM", "GRU", "RNN"}) table[name] = {supports, recurrent};
}

}  // namespace mizzen::cuda
