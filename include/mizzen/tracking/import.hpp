// Bringing in what other programs have recorded: MLflow's file stores and TensorBoard's event
// files.
//
//   mizzen::tracking::client store("sqlite:///mlflow.db");
//   mizzen::tracking::import_file_store("mlruns", store);
//   mizzen::tracking::import_tensorboard("logs", store, {.experiment = "digits"});
//
// An import is a transfer (transfer.hpp) out of a folder: into an embedded store or to a server,
// again and again with nothing there twice, with the same report. The folder is read only, and
// bytes in it are not trusted: memory is bounded, and what is damaged is a problem in the report.
#pragma once

#include <mizzen/tracking/transfer.hpp>

#include <filesystem>
#include <string>

namespace mizzen::tracking {

// A folder as MLflow writes it under the tracking URI "./mlruns" (mlflow/store/tracking/
// file_store.py and model_registry/file_store.py, MLflow 3.17 and before): experiments, runs with
// parameters, tags, metrics, inputs and artifacts, logged models, registered models. Ids, version
// numbers and times are kept, as a transfer keeps them. What is in its .trash is not brought, nor
// are traces (transfer_report::left_out counts them).
//
// Artifacts are read from below the folder only, as its files could name any place: where an
// experiment has its artifacts elsewhere, or a link leads elsewhere, that is a problem.
//
// Throws what transfer() throws, and not_found or permission_denied for the folder;
// invalid_argument if it is no file store.
transfer_report import_file_store(const std::filesystem::path& folder, client& to,
                                  const transfer_options& options = {});

struct tensorboard_import_options {
  // What the runs come into. Empty: the folder's name.
  std::string experiment = {};
  cancellation cancel = {};  // as in transfer_options
  std::function<void(const transfer_report&)> progress = {};
};

// A folder as TensorBoard takes it by --logdir: each folder in it, itself included, that has event
// files (*tfevents*) is a run, named by its path. Its scalars become metrics, whichever way they
// were written (simple_value, or a tensor of one number): under their tags, at their steps and wall
// times. Characters that MLflow has no place for in a key become _, and tags that would then be the
// same or too long get a part of their hash. Points of restarts are all kept, where TensorBoard
// hides those that a restart made obsolete. Text, images, histograms and other tensors are not
// brought: transfer_report::left_out names their tags.
//
// A run is known again by its path and the name of its first event file, which tells when and where
// it began: the folder may be moved, grow, and be imported again. It is FINISHED at its last event.
//
// Throws what transfer() throws, and not_found or permission_denied for the folder.
transfer_report import_tensorboard(const std::filesystem::path& folder, client& to,
                                   const tensorboard_import_options& options = {});

}  // namespace mizzen::tracking
