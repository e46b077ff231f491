// One transfer: what is read from a source goes to a backend.
#pragma once

#include "tracking/backend.hpp"
#include "tracking/transfer_source.hpp"
#include "tracking/transfer_target.hpp"

#include <mizzen/tracking/transfer.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mizzen::tracking::detail {

// Used once. Errors: see mizzen::tracking::transfer.
class transfer_job {
 public:
  transfer_job(transfer_source& from, backend& to, const transfer_options& options);
  transfer_report run();

 private:
  // A run that is not finished before the models that it made or read are there.
  struct open_run {
    source_run run;
    std::string state;
    std::vector<model_use> uses;
  };

  // Does the work for one thing; an error that concerns it alone becomes a problem.
  void attempt(const std::string& subject, const std::function<void()>& work);
  void report_problem(const std::string& subject, const error& why);
  void step();

  void carry_experiment(const experiment& from);
  void carry_run(const source_run& run, const std::string& experiment_id);
  void carry_points(const source_run& run, const std::string& id);
  void send_points(const source_run& run, std::span<const logged_point> points);
  void carry_params(const source_run& run, const std::string& id);
  void carry_model(const source_model& model, const std::string& experiment_id);
  void finish_runs();
  void carry_registered_model(const registered_model& model);
  // Those up to that one that were not carried yet, oldest first.
  void carry_versions(const std::string& name, std::int64_t last);
  void carry_version(const source_version& version);
  void carry_aliases(const registered_model& model);
  // edit, where given, makes the content of the file MLmodel at the top.
  void carry_files(const std::string& from, const std::string& to,
                   const std::function<std::string(std::string)>& edit = {});

  // By their keys at the source. Nothing where they are not over there.
  const placed_entity* run_there(const std::string& key);
  const placed_entity* model_there(const std::string& key);
  std::string source_there(const model_version& version, std::string& run_id,
                           std::string& model_id);

  transfer_source& from_;
  backend& to_;
  const std::unique_ptr<transfer_target> target_;
  const transfer_options& options_;
  transfer_report report_;
  std::map<std::string, std::string> experiments_;  // id at the source -> over there
  std::map<std::string, placed_entity> runs_;       // by key at the source
  std::map<std::string, placed_entity> models_;
  std::map<std::string, registered_model> registered_;
  std::set<std::pair<std::string, std::int64_t>> tried_;  // versions: name, key
  std::map<std::pair<std::string, std::int64_t>, std::int64_t> versions_;
  std::vector<open_run> open_;
};

}  // namespace mizzen::tracking::detail
