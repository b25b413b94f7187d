"""The page in a browser, as a user opens it: from disk."""

import pathlib
import re
import shutil
import subprocess
import time

import numpy as np
import pytest

from conrec_tf.config import Config
from conrec_tf.explore.findings import explored
from conrec_tf.explore.page import write_page
from conrec_tf.explore.tables import Images
from conrec_tf.explore.thumbnails import SIDE

COUNT = 200
NASTY = '</script><b>"it\'s" & more'


def page_of(folder, count=COUNT):
  """Writes a page of images of two classes, a quarter of them in the test split."""
  rng = np.random.default_rng(0)
  labels = np.arange(count) % 2
  vectors = np.eye(2, 6)[labels] + 0.1 * rng.normal(size=(count, 6))
  words = [("cat", NASTY)[label] for label in labels]
  names = [f"{NASTY}{number}.png" for number in range(count)]
  tests = count // 4
  images = Images(names, ["train"] * (count - tests) + ["test"] * tests, words, ("cat", NASTY))
  found = explored(vectors, labels, 2, Config(mode="explore", label_next=70), [], seed=0)
  pictures = iter(rng.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8))
  return write_page(folder, NASTY, images, found, lambda shown: pictures, [], 0)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
  """The address of a page of two hundred images."""
  return page_of(tmp_path_factory.mktemp("run") / "explore/photos").as_uri()


@pytest.fixture(scope="module")
def driver():
  """Chromium without a window; its console is kept."""
  webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
  paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
  if None in paths:
    pytest.skip("needs Chromium and its driver")
  options = webdriver.ChromeOptions()
  options.binary_location = paths[0]
  for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
    options.add_argument(argument)
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  made = webdriver.Chrome(options, webdriver.chrome.service.Service(paths[1]))
  yield made
  made.quit()


def opened(driver, address, width):
  """Opens the page at a width in pixels."""
  driver.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
  )
  driver.get(address)


def text(driver, selector):
  return driver.find_element("css selector", selector).text


def until(condition):
  """Waits until something holds, ten seconds at most."""
  ends = time.monotonic() + 10
  while not condition():
    assert time.monotonic() < ends
    time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_the_page_works_by_pointer_and_by_keys(driver, address, width):
  from selenium.webdriver.common.action_chains import ActionChains
  from selenium.webdriver.common.keys import Keys

  opened(driver, address, width)
  assert driver.execute_script("return document.documentElement.scrollWidth") <= width
  assert text(driver, "#count") == "200 images"
  map_ = driver.find_element("id", "map")

  driver.execute_script("arguments[0].focus()", map_)
  ActionChains(driver).send_keys("+", "+", Keys.ARROW_LEFT, Keys.ENTER).perform()
  assert text(driver, "#image dd").startswith(NASTY)
  assert len(driver.find_elements("css selector", "#image .grid button")) == 12
  ActionChains(driver).send_keys("0", "l").perform()
  size = map_.size["width"] // 2 - 2, map_.size["height"] // 2 - 2
  lasso = ActionChains(driver).move_to_element_with_offset(map_, -size[0], -size[1])
  lasso.click_and_hold()
  for right, down in ((2 * size[0], 0), (0, 2 * size[1]), (-2 * size[0], 0)):
    lasso.move_by_offset(right, down)
  lasso.release().perform()
  until(lambda: "200 selected" in text(driver, "#count"))

  split = driver.find_element("id", "split")
  split.find_elements("tag name", "option")[1].click()
  until(lambda: text(driver, "#count") == "50 images, 50 selected")
  driver.find_element("id", "tab-next").click()
  shown = driver.find_elements("css selector", "#list .grid button")
  assert 0 < len(shown) < 60  # those of the test split alone
  split.find_elements("tag name", "option")[0].click()
  driver.find_element("css selector", "#list .more").click()
  assert len(driver.find_elements("css selector", "#list .grid button")) == 70
  assert driver.get_log("browser") == []


@pytest.mark.slow
def test_pictures_come_from_the_files_beside_the_page(driver, address):
  opened(driver, address, 1280)
  style = driver.find_element("css selector", "#list .thumb").get_attribute("style")
  name = style.partition('url("')[2].partition('"')[0]
  assert (pathlib.Path(address.removeprefix("file://")).parent / name).exists()


ZOOMED = """
<script>
let drawn = 0;
CanvasRenderingContext2D.prototype.drawImage = () => { drawn += 1; };
window.requestAnimationFrame = draw => setTimeout(draw, 10); // without a screen there are no frames
const map = document.getElementById("map"), told = document.body.dataset;
setTimeout(() => {
  told.before = drawn;
  for (const key of "++++") map.dispatchEvent(new KeyboardEvent("keydown", { key }));
  document.querySelector("#list .grid button").click(); // which moves the map to an image
}, 500);
setTimeout(() => { told.after = drawn; }, 2000);
</script>
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [40, 300])
def test_the_map_zooms_into_pictures_however_few_there_are(tmp_path, count):
  chromium = shutil.which("chromium")
  if not chromium:
    pytest.skip("needs Chromium")
  page = page_of(tmp_path / "explore/photos", count)
  before_the_script, rest = page.read_text("utf-8").split('<script src="data.js">')
  page.write_text(f'{before_the_script}{ZOOMED}<script src="data.js">{rest}', "utf-8")
  done = subprocess.run(
    [
      *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=900,900"),
      *(f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=5000", "--dump-dom"),
      page.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=60,
  )
  before, after = (
    int(re.search(rf'data-{when}="(\d+)"', done.stdout)[1]) for when in ("before", "after")
  )
  assert before == 0 and after > 0
