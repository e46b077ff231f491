#include "pipelines/lineage.hpp"

#include "core/sha256.hpp"

#include <mizzen/core/error.hpp>
#include <mizzen/tracking/client.hpp>

#include <exception>
#include <utility>

namespace mizzen::pipelines::detail {
namespace {

std::string kind_of_node(const std::string& type) {
  if (type == dataset::type_name) return "dataset";
  if (type == model::type_name) return "model";
  if (type == metrics::type_name || type == classification_metrics::type_name) return "metrics";
  return "artifact";
}

std::string record(tracking::lineage& graph, const stored_artifact& artifact) {
  const std::string version = artifact.digest.empty()
                                  ? mizzen::detail::sha256_hex(artifact.value.metadata.dump())
                                  : artifact.digest;
  return graph.record({.kind = kind_of_node(artifact.type),
                       .name = artifact.name,
                       .version = version,
                       .attributes = {{"uri", artifact.value.uri()}, {"type", artifact.type}}});
}

}  // namespace

lineage_recorder::lineage_recorder(const tracking::client* client, logger log)
    : client_(client), log_(std::move(log)) {}

std::string lineage_recorder::step(const std::string& name, const std::string& identity,
                                   const std::map<std::string, std::string>& attributes,
                                   const input_artifacts& inputs) {
  std::string id;
  if (!client_) return id;
  try {
    tracking::lineage graph = client_->lineage();
    id = graph.record({.kind = "step",
                       .name = name,
                       .version = identity,
                       .attributes = {attributes.begin(), attributes.end()}});
    for (const auto& [input, list] : inputs) {
      for (const stored_artifact& artifact : list) {
        graph.link(record(graph, artifact), id, "input");
      }
    }
  } catch (...) {
    failed(name);
  }
  return id;
}

void lineage_recorder::outputs(const std::string& step, const stored_outputs& outputs) {
  if (!client_ || step.empty()) return;
  try {
    tracking::lineage graph = client_->lineage();
    for (const auto& [name, artifact] : outputs.artifacts) {
      graph.link(step, record(graph, artifact), "output");
    }
  } catch (...) {
    failed(step);
  }
}

std::string lineage_recorder::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

void lineage_recorder::failed(const std::string& name) noexcept {
  try {
    const std::string why = describe(std::current_exception());
    log_.log(log_level::warning, "pipelines", "lineage not recorded",
             {{"step", name}, {"why", why}});
    const std::lock_guard lock(mutex_);
    if (problem_.empty()) problem_ = name + ": " + why;
  } catch (...) {  // out of memory while telling: the step's own work goes on
  }
}

}  // namespace mizzen::pipelines::detail
