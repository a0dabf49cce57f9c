const data = readData("sounds");
for (const button of document.querySelectorAll(".sound")) {
  button.addEventListener("click", () => {
    const { row, number } = button.dataset;
    if (button === playing) player.pause();
    else play(data[row][number], button);
  });
}
