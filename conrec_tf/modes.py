"""What each --mode does, put together from the other modules."""

import logging

from conrec_tf.checkpoints import Checkpoints
from conrec_tf.data.pipeline import pretraining_batches, steps_per_epoch
from conrec_tf.data.sources import open_source
from conrec_tf.evaluation import linear_evaluation
from conrec_tf.export import export_saved_model
from conrec_tf.models import build_model
from conrec_tf.optimizers import build_optimizer
from conrec_tf.pretrain import PretrainingStep
from conrec_tf.runs import RunDirectory
from conrec_tf.strategy import build_strategy
from conrec_tf.training import MetricsLog, StepRunner, train

logger = logging.getLogger(__name__)

ACCURACY = "eval/linear_top_1_accuracy"


def run(config):
  """Does what `config.mode` says.

  Raises:
    UsageError: something that the user can put right.
  """
  source = open_source(config)
  epoch = steps_per_epoch(source.train, config.train_batch_size)
  last_step = config.train_steps or config.train_epochs * epoch
  directory = RunDirectory(config.run_directory)
  directory.start(config)
  logger.info("Run %s: %s on %s, %d training images, %d steps", directory.path, config.method,
              source.name, source.train.num_examples, last_step)

  strategy = build_strategy()
  with strategy.scope():
    model = build_model(config, source.channels)
    optimizer = build_optimizer(config)
    optimizer.build(model.trainable_variables)
    runner = StepRunner(strategy, PretrainingStep(config, model, optimizer))
  iterator = iter(pretraining_batches(config, source))
  checkpoints = Checkpoints(directory.path, config.keep_checkpoint_max, model,
                            optimizer=optimizer, iterator=iterator, runner=runner)
  first_step = checkpoints.restore()
  log = MetricsLog(directory.path, first_step)

  def evaluate(step):
    _evaluate(config, model, source, directory, log, step, checkpoints)

  evaluates = config.mode == "train_then_eval"
  events = [(config.checkpoint_steps or config.checkpoint_epochs * epoch, checkpoints.save)]
  if evaluates:
    if first_step == 0:
      evaluate(0)
    events.insert(0, ((config.eval_every_epochs * epoch) or last_step, evaluate))
  if first_step >= last_step:
    logger.info("Nothing to train: step %d of %d is done", first_step, last_step)
    if evaluates:
      evaluate(first_step)
  train(runner, iterator, first_step=first_step, last_step=last_step, log_steps=config.log_steps,
        images_per_step=config.train_batch_size, learning_rate=lambda: optimizer.learning_rate,
        log=log, events=events)
  if evaluates:
    step = max(first_step, last_step)
    exported = directory.path / "saved_model" / str(step)
    exported.parent.mkdir(exist_ok=True)
    export_saved_model(model, source.channels, exported)
    _summarise(directory, step, exported)


def _evaluate(config, model, source, directory, log, step, checkpoints):
  """Measures the network after `step` steps, unless that is already on disk."""
  if directory.read(f"result_{step}.json"):
    return
  metrics = linear_evaluation(config, model, source, standardise=step == 0)
  result = {"global_step": step, **metrics}
  if step == 0:
    result = {name.replace("eval/", "eval/untrained_"): value for name, value in result.items()}
  logger.info("Step %d: %s", step, ", ".join(
      f"{name.removeprefix('eval/').replace('_', ' ')} {value:.2%}"
      for name, value in result.items() if name != "global_step"))
  before = [past.get(ACCURACY, -1.0) for past in directory.evaluations(step).values()]
  if step and result[ACCURACY] > max(before, default=-1.0):
    checkpoints.save_best(step)
  directory.write(f"result_{step}.json", result)
  log.write(result)


def _summarise(directory, step, exported):
  """Writes `result.json` and prints what came out."""
  evaluations = directory.evaluations(step)
  trained = {at: result[ACCURACY] for at, result in evaluations.items() if ACCURACY in result}
  best = max(trained, key=trained.get)
  result = {**evaluations.get(0, {}), "global_step": step, ACCURACY: trained[step],
            "eval/best_linear_top_1_accuracy": trained[best], "eval/best_step": best,
            "saved_model": str(exported.relative_to(directory.path))}
  directory.write("result.json", result)
  rows = [("untrained, raw embeddings", result.get("eval/untrained_linear_top_1_accuracy"), 0),
          ("untrained, standardised embeddings",
           result.get("eval/untrained_standardised_linear_top_1_accuracy"), 0),
          ("last", trained[step], step), ("best on the evaluation split", trained[best], best)]
  logger.info("Linear accuracy\n%s", "\n".join(
      f"  {name:36}{accuracy:7.2%}  step {at}" for name, accuracy, at in rows
      if accuracy is not None))
  logger.info("Results in %s, SavedModel in %s", directory.path / "result.json", exported)
