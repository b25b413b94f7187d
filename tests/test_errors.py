import pytest

from conrec_tf.errors import UsageError, as_usage_error


def raised_within(error):
  with pytest.raises(Exception) as caught:
    with as_usage_error("data_dir must hold images", "photos", ValueError, OSError):
      raise error
  return caught.value


def test_what_goes_wrong_is_said_in_brackets():
  why = ValueError("it is cut\nat byte 7")
  error = raised_within(why)
  assert isinstance(error, UsageError) and error.__cause__ is why
  assert str(error) == "data_dir must hold images (it is cut). Received: photos"


def test_what_a_user_was_told_and_other_kinds_pass():
  for error in (UsageError("data_dir must be a path. Received: 3"), KeyError("a")):
    assert raised_within(error) is error
