// Where the time of a model's runs goes: per operator, per node, and as a trace.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace mizzen::inference {

namespace detail {
class profile_log;
}

// Collects the time of every node of the runs that it is given to:
//
//   mizzen::inference::profile times;
//   session.run(inputs);  // plans are made now, and caches are warm
//   session.run(inputs, {.profile = &times});
//   std::cout << times.table();
//   times.write_trace("trace.json");
//
// A run without one costs nothing for it; with one, a reading of the clock per node. Nodes that
// need not run (views, what follows from shapes alone) do not appear. Times are wall time.
//
// Thread safe: runs of several threads, and of several sessions, may share one. It must outlive the
// runs it is given to, but need not be outlived by the sessions. Move-only; a moved-from profile
// may only be destroyed or assigned to.
class profile {
 public:
  // The same node with the same shapes, over all runs.
  struct node_time {
    std::string name;     // the node's, or "-> " and its first output's where it has none
    std::string op_type;  // with its domain where that is not the default one
    std::string fused;    // what was fused into it: "+add+relu"; empty for nothing
    std::string outputs;  // "float32[1,64,56,56]", those of several outputs with ", " between
    std::string inputs;   // likewise
    std::uint64_t count = 0;
    // In the node itself: that of the nodes of an If's branches and a Loop's body is their own.
    std::chrono::nanoseconds total{0};
  };
  struct operator_time {
    std::string op_type;
    std::uint64_t count = 0;
    std::chrono::nanoseconds total{0};
  };

  profile();
  profile(profile&&) noexcept;
  profile& operator=(profile&&) noexcept;
  ~profile();

  // Finished runs, and the time they took in all.
  std::uint64_t runs() const;
  std::chrono::nanoseconds total() const;

  // The greatest total first. What a run spends outside its nodes stands as the operator
  // "(engine)".
  std::vector<operator_time> operators() const;
  std::vector<node_time> nodes() const;

  // Both as text for people: operators with count, time, share and mean; then the slowest nodes,
  // at most so many, with their shapes. Format unspecified.
  std::string table(std::size_t most_nodes = 30) const;

  // The runs one by one in the format of Chrome's trace viewer and Perfetto (ui.perfetto.dev): JSON
  // with one complete event ("ph": "X") per run and per node. The first million events are kept;
  // the sums above hold for all.
  std::string trace() const;
  // Throws error(unavailable / permission_denied / not_found) for the file.
  void write_trace(const std::filesystem::path& path) const;

  // Forgets everything so far.
  void clear();

 private:
  friend class session;
  std::unique_ptr<detail::profile_log> log_;
};

}  // namespace mizzen::inference
