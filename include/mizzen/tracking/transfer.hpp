// Carrying what one store holds over to another: what was recorded offline to an MLflow server,
// what a server holds to a file, one file to another. docs/tracking/transfer.md tells more.
//
//   mizzen::tracking::client offline("sqlite:///robot.db"), server("https://mlflow.example");
//   const auto report = mizzen::tracking::transfer(offline, server);
#pragma once

#include <mizzen/core/cancellation.hpp>
#include <mizzen/core/error.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mizzen::tracking {

class client;

// Which artifacts of runs and models are copied.
enum class transfer_files {
  none,
  missing,  // those that are not there yet in the same size
  all,      // also those; for files that were rewritten in place
};

// Something that could not be carried over, because the other side refuses it or this side cannot
// read it; a later transfer tries it again.
struct transfer_problem {
  std::string subject = {};  // "run '4f…'", "model version 'digits' 3"
  errc code = errc::unknown;
  std::string message = {};
};

// What a transfer has looked at and done so far.
struct transfer_report {
  std::uint64_t experiments = 0;
  std::uint64_t runs = 0;       // looked at
  std::uint64_t unchanged = 0;  // of those: known to be there as they are, and passed over
  std::uint64_t points = 0;    // of metrics, handed over; those that were there already stay single
  std::uint64_t files = 0;     // copied
  std::uint64_t bytes = 0;     // in those
  std::uint64_t models = 0;    // logged models
  std::uint64_t versions = 0;  // model versions
  std::vector<transfer_problem> problems = {};
  // What an import has seen and not brought, as it has no place in a store (an image of an event
  // file), or none yet (a trace).
  std::vector<transfer_problem> left_out = {};

  // Whether all of it is there now.
  bool complete() const noexcept { return problems.empty(); }
};

struct transfer_options {
  // Experiments by name; empty: all.
  std::vector<std::string> experiments = {};
  transfer_files files = transfer_files::missing;
  // Whether registered models go along, with their versions, tags, stages and aliases.
  bool registry = true;
  // Whether an alias ("champion") that points at another version over there is moved. Off, that is
  // a problem in the report.
  bool move_aliases = false;
  // Asked between two things that are carried over.
  cancellation cancel = {};
  // Told after each run, model and version; may be empty. Called by the thread that transfers.
  std::function<void(const transfer_report&)> progress = {};
};

// Carries active experiments with their active runs (parameters, tags, all points of all metrics,
// inputs, artifacts, status and times), logged models and the model registry over to another store,
// and between two embedded stores the lineage graph. Not carried: what is in the recycle bin,
// traces, webhooks, stage histories; nothing is taken away on either side.
//
// Again is fine: what is there already is found by its id and brought up to date, so a transfer
// that was cut off anywhere (a dead server, SIGKILL) is made good by the next, and nothing is there
// twice.
//
// Ids. An embedded store takes runs and logged models under their own ids, model versions under
// their own numbers, and experiments by name, under their own ids where those are free. An MLflow
// server chooses the ids of runs and models itself: there the tags mizzen.run_id, mizzen.model_id
// and mizzen.model_version hold what they were, by which this finds them again, by which clients of
// this library read them (client::get_run and what reads a run or logged model by its id), and
// under which a transfer from the server brings them back. Tags and sources that name a run, model
// or version are rewritten. Version numbers are kept on a server too where they are free there:
// numbers that are not in use here are passed over by making versions and deleting them at once.
//
// Who wins: of runs, logged models and versions what `from` says (but a parameter, which cannot
// change: a problem); of experiments and registered models, which others may share, what is there.
//
// One transfer at a time out of an embedded store into a server: another is error(unavailable),
// whichever process it is in. Two copies of a store's file must not be pushed at once.
//
// Throws what the calls of both clients throw where trying on makes no sense: unavailable,
// unauthenticated, resource_exhausted, cancelled and deadline_exceeded (options.cancel).
// invalid_argument: both are one store. not_found: no experiment of a name in options.
transfer_report transfer(const client& from, client& to, const transfer_options& options = {});

}  // namespace mizzen::tracking
