#include "tracking/client_parts.hpp"
#include "tracking/transfer_job.hpp"
#include "tracking/writer.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/transfer.hpp>

#include <map>
#include <string>

namespace mizzen::tracking {
namespace {

// The graph names runs and models by their ids, which both sides share.
void copy_lineage(detail::backend& from, detail::backend& to) {
  const lineage_graph graph = from.all_nodes();
  std::map<std::string, std::string> ids;
  for (const lineage_node& node : graph.nodes) ids[node.id] = to.record_node(node);
  for (const lineage_edge& edge : graph.edges) {
    to.link_nodes(ids.at(edge.from), ids.at(edge.to), edge.relation);
  }
}

}  // namespace

transfer_report transfer(const client& from, client& to, const transfer_options& options) {
  const auto [source, source_log] = detail::client_parts::of(from);
  const auto [target, target_log] = detail::client_parts::of(to);
  if (source->uri() == target->uri()) {
    throw error(errc::invalid_argument, "transfer", "both clients are of '" + source->uri() + "'");
  }
  const auto held = target->is_remote() ? source->lock_for_transfer() : nullptr;
  detail::settle(*source_log, *source);
  detail::settle(*target_log, *target);
  // Before the runs, so that these find their nodes.
  const bool whole = options.experiments.empty() && !source->is_remote() && !target->is_remote();
  if (whole) copy_lineage(*source, *target);
  const auto reader = detail::make_backend_source(source);
  return detail::transfer_job(*reader, *target, options).run();
}

}  // namespace mizzen::tracking
